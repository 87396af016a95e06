"""Locks that the system lets go of when their process ends, however it ends; of other machines too, where files are shared."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import IO
from weakref import ref

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None

_PATIENCE = 1.0  # seconds that a killed process is given to be gone


def lock(file: IO[str]) -> bool:
    """Takes the lock, unless another process has it; one that was killed may take a moment to be gone.

    Args:
        file: Open to read and write, which NFS asks for; the lock is held until it is closed.

    Returns:
        Whether it is ours. On systems and file systems that have no locks every process is told so.
    """
    if fcntl is None:
        return True
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if _has_none(error):
                return True
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        else:
            break
    held = ref(file)  # so that a run that has ended is not kept open

    def let_go() -> None:
        if (inherited := held()) is not None:
            inherited.close()

    # Processes that load data would keep it, and outlive this one if it is killed.
    os.register_at_fork(after_in_child=let_go)
    return True


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock of this file now; a file that is not there nobody holds."""
    if fcntl is None or not path.is_file():
        return False
    with path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return not _has_none(error)
    return False


def _has_none(error: OSError) -> bool:
    """Whether the file system has no locks, such as Lustre mounted without them."""
    return error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
