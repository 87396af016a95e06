"""Files that a crash cannot corrupt: written aside, flushed, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError


def write_aside(path: Path, write: Callable[[Path], object]) -> Path:
    """Lets ``write`` fill a temporary neighbour of ``path``, then renames it to ``path``.

    Raises:
        OSError: If the folder cannot be written or the disk is full; what ``path`` held before is untouched.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.chmod(0o644)  # some writers leave their files readable by the owner alone
        aside.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch and safetensors raise their own errors on a full disk
        _remove(aside)
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            getattr(error, "errno", None) or errno.EIO,
            f"Cannot write {path}: {reason}. Free space or choose another folder, then run the same "
            "command again; what was written before is intact",
        ) from error
    except BaseException:
        _remove(aside)
        raise
    return path


def write_text(path: Path, text: str) -> Path:
    """Writes ``text`` as UTF-8, aside and renamed."""
    return write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is gone or unwritable: nothing of ours is left there
        return
