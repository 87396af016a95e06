"""What every target of the fuzzer has: whole files to begin with, mutations of them, and what an answer must be."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

LONGEST = 600  # characters of a message; a file decides what is quoted, and not how much

Mutate = Callable[[bytes], bytes]
T = TypeVar("T")


class WrongError(AssertionError):
    """An answer that is no crash and not right: a wrong acceptance, or an error without what it must name."""


class Target(Protocol):
    """A way into the package that a file takes."""

    name: str

    def seeds(self) -> list[bytes]:
        """Whole files, of which every mutation begins."""
        ...

    def mutate(self, data: bytes, draw: random.Random, raw: Mutate) -> bytes:
        """Another file: the container stays valid, what it says changes; or ``raw``, which changes bytes."""
        ...

    def check(self, data: bytes) -> bool:
        """Reads one file; whether it was accepted.

        Raises:
            WrongError: If the answer is wrong. Anything else that is raised is a crash.
        """
        ...


class Place:
    """One file in a folder of memory, written over for each input; what a reader has mapped is let go of by then."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._size = folder / name, 0
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT)

    def put(self, data: bytes) -> Path:
        """Writes ``data``."""
        os.pwrite(self._file, data, 0)
        if len(data) != self._size:
            os.ftruncate(self._file, len(data))
        self._size = len(data)
        return self.path

    def unchanged(self, data: bytes) -> None:
        """Raises WrongError if reading has changed the file."""
        if os.pread(self._file, len(data) + 1, 0) != data:
            raise WrongError("reading changed the file")


def taken(read: Callable[[], T], path: Path) -> T | None:
    """What ``read`` returned; None if it refused as it should, which is by an error that names the file.

    Raises:
        WrongError: If the error does not name the file, or says too much.
    """
    try:
        return read()
    except (ValueError, FileNotFoundError) as error:
        text = str(error)
        kind = type(error)
        if kind not in (ValueError, FileNotFoundError) and not kind.__module__.startswith("secateur."):
            raise  # such as a UnicodeDecodeError that nobody thought of
        if str(path.name) not in text:
            raise WrongError(f"an error without the file's name: {text[:300]}") from error
        if len(text) > LONGEST:
            raise WrongError(f"an error of {len(text)} characters: {text[:300]}") from error
        return None


def memory() -> Path:
    """A folder of this process's own, in memory where the system has such a place."""
    shared = Path("/dev/shm")
    return (shared if shared.is_dir() else Path("/tmp")) / f"fuzz-{os.getpid()}"
