"""Ends a process before, in and after everything that it does to files, runs the same command again, and compares.

What comes after one thing is what comes before the next, so there is a point before each, one in the middle of each write,
where half is written, and one after the last. Reading changes nothing and has none.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

KILLED = 137
_MODULES = "imported"
_SLOW = ("torch", "secateur", "sympy", "matplotlib", "onnx", "openvino", "rich", "jinja2", "numpy", "scipy")
_CHANGES = ("replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir", "chmod", "truncate")


@dataclass
class Points:
    """Stands between a process and its files.

    Args:
        root: Where things are counted.
        at: The point, counted from 0, at which the process ends as by ``kill -9``; None for none.
        passed: Points so far, each in words.
    """

    root: Path
    at: int | None = None
    passed: list[str] = field(default_factory=list)
    _files: set[int] = field(default_factory=set)

    def point(self, what: str) -> bool:
        """Ends the process if this is the point and nothing is half done there; whether it is the point."""
        self.passed.append(what)
        here = len(self.passed) - 1 == self.at
        if here and not what.startswith("in "):
            os._exit(KILLED)
        return here

    def install(self) -> None:
        """Takes the place of what Python and the libraries call; there is no way back but the end of the process."""
        for name in _CHANGES:
            setattr(os, name, self._change(name, getattr(os, name)))
        setattr(os, "fsync", self._fsync(os.fsync))  # noqa: B010
        opened = self._open(io.open)
        io.open = builtins.open = opened
        torch.save = self._native(torch.save, 1)
        import secateur.storage.saving as saving

        saving.save_file = self._native(saving.save_file, 1)
        if openvino := sys.modules.get("openvino"):
            openvino.save_model = self._native(openvino.save_model, 1)

    def _inside(self, path: Any) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        return Path(os.fsdecode(path)).absolute().is_relative_to(self.root)

    def _change(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(path: Any, *rest: Any, **options: Any) -> Any:
            # shutil.rmtree gives names in an open folder
            if self._inside(path) or options.get("dir_fd") is not None:
                self.point(f"before {name} {self._called(path)}")
            return real(path, *rest, **options)

        return change

    def _fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(number: int) -> None:
            if number in self._files:
                self.point("before fsync")
            real(number)

        return fsync

    def _open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any) -> Any:
            if not set(mode) & set("wax+") or not self._inside(file):
                return real(file, mode, buffering, *rest, **options)
            self.point(f"before open {self._called(file)}")
            raw = _Raw(self, file, mode.replace("b", "").replace("t", ""))
            size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
            binary: Any = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw, size)
            return binary if "b" in mode else io.TextIOWrapper(binary, *rest, **options)

        return opened

    def _native(self, real: Callable[..., Any], place: int) -> Callable[..., Any]:
        """Of what writes without Python: its one write is the whole file."""

        def save(*given: Any, **options: Any) -> Any:
            path = given[place]
            if not self._inside(path):
                return real(*given, **options)
            self.point(f"before write {self._called(path)}")
            half = self.point(f"in write {self._called(path)}")
            made = real(*given, **options)
            if half:
                with Path(path).open("rb") as file:  # read: no point of its own
                    size = os.fstat(file.fileno()).st_size
                number = os.open(path, os.O_WRONLY)
                os.ftruncate(number, size // 2)
                os._exit(KILLED)
            return made

        return save

    def _called(self, path: Any) -> str:
        return Path(os.fsdecode(path)).name.replace(str(os.getpid()), "PID")


class _Raw(io.FileIO):
    """A file whose writes are counted."""

    def __init__(self, points: Points, file: Any, mode: str) -> None:
        super().__init__(file, mode)
        self._points, self._called = points, points._called(file)
        points._files.add(self.fileno())

    def write(self, data: Any) -> int:
        self._points.point(f"before write {self._called}")
        if self._points.point(f"in write {self._called}"):
            super().write(bytes(data)[: len(data) // 2])
            os._exit(KILLED)
        return super().write(data)

    def close(self) -> None:
        if not self.closed:
            self._points._files.discard(self.fileno())
        super().close()


@dataclass
class Command:
    """A command line whose every stop is tried, in a folder of its own each time.

    Args:
        name: For the folders.
        prepare: Fills the folder it is run in.
        run: Runs it, in that folder.
        base: Where those folders are made.
        same: Whether the contents of a file must be the same; names always must.
    """

    name: str
    prepare: Callable[[Path], object]
    run: Callable[[], object]
    base: Path
    same: Callable[[str], bool] = lambda name: True
    points: list[str] = field(default_factory=list)
    straight: dict[str, bytes] = field(default_factory=dict)

    def never_stopped(self) -> Command:
        """Runs it to its end, once however often it is asked, to know the points and what it leaves."""
        if self.points:
            return self
        root = self._made("straight")
        code, said = self._forked(root, None)
        assert code == 0, said
        said, _, modules = said.partition(_MODULES)
        self.points, self.straight = said.splitlines(), left(root)
        for name in modules.split():  # so that every process begins with them
            with warnings.catch_warnings(action="ignore"), contextlib.suppress(Exception):
                import_module(name)
        return self

    def stopped(self, at: int) -> str:
        """Stops it at a point and runs it again at once; what is not as if it had never been stopped, empty where nothing is."""
        root = self._made(f"at{at}")
        code, said = self._forked(root, at)
        assert code == KILLED, (self.points[at], code, said)
        code, said = self._forked(root, None)
        if code != 0:
            return f"{self.points[at]}: the same command fails: {said[-2000:]}"
        found = left(root)
        told = sorted(f"{name} is left over" for name in found.keys() - self.straight.keys())
        told += sorted(f"{name} is missing" for name in self.straight.keys() - found.keys())
        told += [f"{n} differs" for n, v in self.straight.items() if self.same(n) and found.get(n, v) != v]
        if not told:
            shutil.rmtree(root)
        return f"{self.points[at]}: {'; '.join(told)}" if told else ""

    def _made(self, name: str) -> Path:
        root = self.base / self.name / name
        (root / "tmp").mkdir(parents=True)
        self.prepare(root)
        return root

    def _forked(self, root: Path, at: int | None) -> tuple[int, str]:
        """Exit code, and what was passed, or where it failed, what it said."""
        with tempfile.TemporaryFile() as said:
            if not (number := os.fork()):
                self._child(root, at, said.fileno())
            _, status = os.waitpid(number, 0)
            said.seek(0)
            return os.waitstatus_to_exitcode(status), said.read().decode(errors="replace")

    def _child(self, root: Path, at: int | None, said: int) -> None:
        """Never returns."""
        try:
            os.chdir(root)
            tempfile.tempdir = str(root / "tmp")
            time.perf_counter = lambda: 0.0  # how long it took is no part of what must be equal
            points, before = Points(root, at), set(sys.modules)
            points.install()
            with io.StringIO() as words:
                sys.stdout = sys.stderr = words
                code = self.run()
                points.point("at the end")
                modules = [name for name in sys.modules if name.startswith(_SLOW) and name not in before]
                text = words.getvalue() if code else "\n".join([*points.passed, _MODULES, *modules])
        except BaseException:
            code, text = 1, traceback.format_exc()
        os.write(said, text.encode())
        os._exit(1 if code else 0)


def left(root: Path) -> dict[str, bytes]:
    """Every file under ``root`` and what is in it; folders end with a slash."""
    found: dict[str, bytes] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        found |= {f"{name}/": b""} if path.is_dir() else {name: path.read_bytes()}
    return found
