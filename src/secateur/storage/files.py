"""Files that a crash cannot corrupt: written aside, flushed, then renamed."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

_ASIDE = re.compile(r"\.(.+)\.\d+\.(?:new|partial)")  # what is written before it takes its place
_SPACE = "Free space or choose another folder"
_ALLOW = "Choose a folder that you may write to"
_REMEDIES = {
    errno.EACCES: _ALLOW,
    errno.EPERM: _ALLOW,
    errno.EROFS: _ALLOW,
    errno.ENAMETOOLONG: "Choose a shorter name",
}


class UnwrittenError(OSError):
    """A file that cannot be written; it says which, why and what to do."""

    def __str__(self) -> str:
        return str(self.strerror)


def write_aside(path: Path, write: Callable[[Path], object]) -> Path:
    """Lets ``write`` fill a temporary neighbour of ``path``, then renames it to ``path``.

    A link at ``path`` is replaced and not followed, as a folder from somebody may lead anywhere; see :func:`behind`. A file that is
    replaced says who may read and write its successor.

    Raises:
        OSError: If the folder cannot be written, ``path`` is a folder or a device, or the disk is full; what ``path`` held before
            is untouched.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "there is something that is no file")
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers_of(path.name, path.parent)
        aside.touch()
        of = path if path.exists() and not path.is_symlink() else aside
        mode = of.stat().st_mode & 0o777  # of what is replaced, or what the umask and the folder leave of it
        aside.chmod(mode | stat.S_IRUSR | stat.S_IWUSR)  # a private file is so while it is written
        write(aside)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        if aside.stat().st_nlink == 1:  # another name of a file that is there leaves it as it is
            aside.chmod(mode)  # some writers leave their files readable by the owner alone
        aside.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch and safetensors raise their own errors on a full disk
        _remove(aside)
        raise error if isinstance(error, UnwrittenError) else _unwritten(path, error) from error
    except BaseException:
        _remove(aside)
        raise
    return path


def behind(path: Path) -> Path:
    """The file that a link leads to, whether it is there or not; any other path as it is.

    For a path that the user named: what is written there goes to the file that the link stands for, and the link stays.
    """
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def put(file: Path, path: Path) -> Path:
    """Moves a finished file to ``path``, or to where a link there leads, on whatever disk that is.

    Raises:
        OSError: As :func:`write_aside`.
    """
    return write_aside(behind(path), lambda aside: shutil.move(file, aside))


@contextmanager
def folder_aside(path: Path) -> Generator[Path]:
    """A temporary folder beside ``path``, gone after the block; one that a kill left goes with the next.

    Raises:
        OSError: If it cannot be made, or what is written there cannot be; what ``path`` held before is untouched.
    """
    name = f"{path.name}.parts"
    aside = path.with_name(f".{name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers_of(name, path.parent)
        aside.mkdir()
        yield aside
    except ConnectionError:  # of what is written there, not of the writing
        raise
    except OSError as error:
        raise error if isinstance(error, UnwrittenError) else _unwritten(path, error) from error
    finally:
        _remove(aside)


@contextmanager
def temporaries_in(folder: Path) -> Generator[None]:
    """Makes ``folder``, where Python's ``tempfile`` puts what libraries write on the way, so that no kill leaves it elsewhere.

    A variable of the environment that they set to a place in it, as torch does for its cache, is put back with the rest.
    """
    folder.mkdir()
    before, environment = tempfile.tempdir, dict(os.environ)
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        for name, value in list(os.environ.items()):
            if value.startswith(str(folder)) and value != environment.get(name):
                os.environ.pop(name)
                os.environ.update({name: environment[name]} if name in environment else {})


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


def remove_leftovers(folder: Path) -> None:
    """Removes what writes left that were killed, files and folders; those of processes that live are theirs."""
    for path in folder.iterdir():
        if is_leftover(path) and not _is_written(path):
            _remove(path)


def _unwritten(path: Path, error: Exception) -> UnwrittenError:
    number = getattr(error, "errno", None) or errno.EIO
    reason, remedy = getattr(error, "strerror", None) or error, _REMEDIES.get(number, _SPACE)
    if named := _ASIDE.fullmatch(path.name):
        path = path.with_name(named[1])
    if (barrier := next((p for p in path.parents if p.is_file()), None)) is not None:
        reason, remedy = f"{barrier} is a file, and nothing can lie below one", "Choose another folder"
    return UnwrittenError(
        number,
        f"Cannot write {path}: {reason}. {remedy}, then run the same command again; what was written before is intact.",
    )


def _remove_leftovers_of(name: str, folder: Path) -> None:
    """The same for one name alone: the others may be of writes that are under way in this very process."""
    mine = re.compile(rf"\.{re.escape(name)}\.\d+\.(partial|new)")
    for path in folder.iterdir():
        if mine.fullmatch(path.name) and not _is_written(path):
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
        pass
    return not _is_another(int(number), path)


def _is_another(number: int, path: Path) -> bool:
    """Whether the process of this number is dead and only not yet buried, or began after ``path`` was written.

    Linux alone says; elsewhere it is taken for the one that wrote.
    """
    try:
        facts = (
            Path(f"/proc/{number}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
        uptime, written = float(Path("/proc/uptime").read_text().split()[0]), path.stat().st_mtime
        began = time.time() - uptime + float(facts[19]) / os.sysconf("SC_CLK_TCK")  # proc(5): the 22nd field
    except (OSError, ValueError, IndexError):
        return False
    return facts[0] in "ZX" or began > written + 2  # seconds: the two clocks need not agree


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:  # the folder itself is gone or unwritable: nothing of ours is left there
        return
