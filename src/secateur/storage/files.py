"""Files that a crash cannot corrupt: written aside, flushed, then renamed."""

from __future__ import annotations

import errno
import os
import sys
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
        remove_leftovers(path.parent, f".{path.name}.")
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


def write_new(path: Path, text: str) -> bool:
    """Writes ``text`` unless there is such a file already, also where several processes begin at once; whether it did."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")  # whole, and not yet under its name
    write_text(aside, text)
    try:
        os.link(aside, path)  # never takes the place of another
    except FileExistsError:
        return False
    except OSError:  # no such links here: of two that begin at once the later one wins
        aside.replace(path)
    finally:
        _remove(aside)
    return True


def is_leftover(path: Path) -> bool:
    """Whether it is what a write leaves that was killed."""
    return path.name.startswith(".") and path.suffix in (".partial", ".new")


def remove_leftovers(folder: Path, prefix: str = ".") -> None:
    """Removes what writes left that were killed; those of processes that live are theirs."""
    for path in folder.iterdir():
        if is_leftover(path) and path.name.startswith(prefix) and not _is_written(path):
            _remove(path)


def _is_written(path: Path) -> bool:
    """Whether the process that the file is named after lives, and is another."""
    number = path.stem.rpartition(".")[2]
    if not number.isdigit() or int(number) == os.getpid():
        return False
    if sys.platform == "win32":
        return True  # there is no asking without harm
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is gone or unwritable: nothing of ours is left there
        return
