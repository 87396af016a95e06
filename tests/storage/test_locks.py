"""Locks on the file systems that clusters share."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

import pytest

from secateur.runs.folder import RunFolder
from secateur.storage import is_locked, lock, locks

fcntl = pytest.importorskip("fcntl", reason="needs locks of POSIX")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.claim({"steps": 1})
    return made


def test_one_holds_it_at_a_time_and_looking_takes_nothing(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_PATIENCE", 0.0)
    assert not folder.busy
    with folder.config.open("r+") as one, folder.config.open("r+") as other:
        assert lock(one)
        assert folder.busy
        assert not lock(other)
    assert not folder.busy
    with folder.held(), pytest.raises(ValueError, match="another process trains here"), folder.held():
        pass
    assert not is_locked(folder.path / "nothing"), "and nothing is made of it"
    assert not (folder.path / "nothing").exists()


def test_it_is_had_on_nfs_which_wants_a_file_to_write(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flock(2): over NFS an exclusive lock needs a file open for writing, a shared one for reading."""
    before, flock = folder.config.read_bytes(), fcntl.flock

    def over_nfs(file: IO[str], how: int) -> None:
        may = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
        if may not in (os.O_RDWR, os.O_WRONLY if how & fcntl.LOCK_EX else os.O_RDONLY):
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", over_nfs)
    assert not folder.busy
    with folder.held():
        assert folder.busy
    assert folder.config.read_bytes() == before


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_trained_on(
    folder: RunFolder, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(file: IO[str], how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    with folder.held():
        assert not folder.busy
