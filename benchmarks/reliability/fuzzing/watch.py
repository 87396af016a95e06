"""What reading must never do, heard by an audit hook: run code, import, start or reach anything, write elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import CodeType
from typing import Any

# Those that readers of text choose by its first bytes, and what torch imports to print a tensor in an error: before anything is heard.
for _module in (*(f"encodings.utf_{n}" for n in ("8_sig", "16", "16_le", "16_be", "32", "32_le", "32_be")), "encodings.cp437",
                "encodings.latin_1", "encodings.ascii", "torch._subclasses.schema_check_mode"):  # fmt: skip
    import_module(_module)

_NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "subprocess.Popen", "pty.spawn",
          "socket.", "urllib.Request", "ctypes.", "pickle.find_class", "code.__new__", "exec", "marshal.",
          "shutil.", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.kill", "webbrowser.")  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """An audit hook that takes notes while something is read; Python keeps it for ever, so make one.

    Args:
        inside: Where files may be written.
        code: Files whose code may run, such as a template of ours; what text of a file becomes is never from one of them.
    """

    def __init__(self, inside: Path, code: Collection[str] = ()) -> None:
        self._inside, self._code, self._on = f"{inside}/", frozenset(code), False
        self.heard: list[str] = []
        sys.addaudithook(self._hear)

    @contextmanager
    def on(self) -> Generator[None]:
        """Listens; what was heard is in ``heard``."""
        self.heard.clear()
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if not self._on or event.startswith(("object.__", "sys.", "cpython.", "gc.")):
            return
        if event == "import":
            self.heard.append(f"import {given[0]}")
        elif event == "open":
            path, _, flags = given
            if isinstance(flags, int) and flags & _WRITING and not self._mine(path):
                self.heard.append(f"open {path!r} for writing")
        elif event.startswith(_NEVER) and not self._allowed(event, given):
            self.heard.append(f"{event} {given!r:.200}")

    def _allowed(self, event: str, given: tuple[Any, ...]) -> bool:
        """Our own template, and files of this process's own folder: removed, and put in place of another."""
        if event == "exec":
            return isinstance(given[0], CodeType) and given[0].co_filename in self._code
        paths = given[:2] if event == "os.rename" else given[:1]
        return event in ("os.remove", "os.rename", "os.chmod") and all(map(self._mine, paths))

    def _mine(self, path: object) -> bool:
        return isinstance(path, (str, Path)) and os.path.normpath(path).startswith(self._inside)
