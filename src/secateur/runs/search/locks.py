"""Locks between threads and processes that share a folder; the system lets go of them when a process ends, however it ends."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import IO

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None


class StoppedError(Exception):
    """What was waited for is no longer wanted."""


class Locks:
    """Locks by name, each a file that is never removed: whoever waits for it has it open.

    Args:
        folder: Where those files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, name: str) -> IO[str] | None:
        """The lock, held until it is closed; None where somebody else has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = (self.folder / name).open("a", encoding="utf-8")
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                return None
        return file

    @contextmanager
    def held(self, name: str, stop: Event | None = None) -> Generator[None]:
        """Waits for the lock and holds it.

        Raises:
            StoppedError: If ``stop`` is set before it is there.
        """
        while (file := self.take(name)) is None:
            if stop is not None and stop.is_set():
                raise StoppedError
            time.sleep(0.02)
        with file:
            yield
