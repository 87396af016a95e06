"""What reading must never do, heard by an audit hook: run code, import, start or reach anything, write elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "subprocess.Popen", "pty.spawn",
          "socket.", "urllib.Request", "ctypes.", "pickle.find_class", "code.__new__", "exec", "marshal.",
          "shutil.", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.kill", "webbrowser.")  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """An audit hook that takes notes while something is read; Python keeps it for ever, so make one.

    Args:
        inside: Where files may be written.
        modules: Beginnings of what may be imported late; a name from the file is never among them.
    """

    def __init__(self, inside: Path, modules: tuple[str, ...] = ()) -> None:
        self._inside, self._modules, self._on = str(inside), modules, False
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
            if not str(given[0]).startswith(self._modules):
                self.heard.append(f"import {given[0]}")
        elif event == "open":
            path, _, flags = given
            if isinstance(flags, int) and flags & _WRITING and not str(path).startswith(self._inside):
                self.heard.append(f"open {path!r} for writing")
        elif event.startswith(_NEVER) and not (
            event == "os.remove" and str(given[0]).startswith(self._inside)
        ):
            self.heard.append(f"{event} {given!r:.200}")
