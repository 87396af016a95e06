"""A crash or a full disk never corrupts what was written."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
from safetensors import SafetensorError

from secateur.storage.files import folder_aside, temporaries_in, write_aside, write_new, write_text


def test_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o002, 0o664), (0o022, 0o644)])
def test_who_may_read_and_write_is_as_the_umask_says(tmp_path: Path, umask: int, mode: int) -> None:
    def private(aside: Path) -> None:
        aside.unlink()
        os.close(os.open(aside, os.O_CREAT | os.O_WRONLY, 0o600))  # as some writers leave their files

    before = os.umask(umask)
    try:
        made = [write_text(tmp_path / "a.txt", "one"), write_aside(tmp_path / "b.txt", private)]
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in made] == [mode, mode]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o664])
def test_a_file_that_is_replaced_keeps_who_may_read_and_write(tmp_path: Path, mode: int) -> None:
    path, seen = write_text(tmp_path / "a.txt", "one"), []

    def write(aside: Path) -> None:
        seen.append(aside.stat().st_mode & 0o077)
        aside.write_text("two")

    path.chmod(mode)
    write_aside(path, write)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("two", mode)
    assert seen == [mode & 0o077], "while it is written"
    (tmp_path / "link").symlink_to(path)
    (new := tmp_path / "new.txt").touch()
    assert write_text(tmp_path / "link", "three").stat().st_mode == new.stat().st_mode, "a link is no file"


def test_a_second_name_of_a_private_file_leaves_it_private(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "one")
    path.chmod(0o600)

    def link(aside: Path) -> None:
        aside.unlink()
        os.link(path, aside)

    write_aside(tmp_path / "b.txt", link)
    assert path.stat().st_mode & 0o777 == 0o600


def test_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "one")

    def fill(aside: Path) -> None:
        aside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"Cannot write .*a.txt: No space left on device. Free space"):
        write_aside(path, fill)
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_the_errors_of_torch_and_safetensors_on_a_full_disk_are_explained_too(tmp_path: Path) -> None:
    for error in (RuntimeError("PytorchStreamWriter failed writing file"), SafetensorError("No space left")):

        def fill(aside: Path, error: Exception = error) -> None:
            aside.write_text("half")
            raise error

        with pytest.raises(OSError, match="Free space or choose another folder"):
            write_aside(tmp_path / "a.pt", fill)
        assert not list(tmp_path.iterdir())


def test_interruption_keeps_the_old_file(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "one")

    def stop(aside: Path) -> None:
        aside.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_aside(path, stop)
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    below = r"^Cannot write .*file/a\.txt: .*file is a file, and nothing can lie below one. Choose another folder, then"
    with pytest.raises(OSError, match=below):
        write_text(tmp_path / "file" / "a.txt", "one")


def test_what_libraries_write_on_the_way_goes_with_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tempfile.gettempdir()
    monkeypatch.setenv("CACHE_A", "mine")
    with folder_aside(tmp_path / "a") as folder, temporaries_in(folder / "temporary"):
        made = Path(tempfile.mkdtemp())
        assert made.parent == folder / "temporary"
        for name in (
            "CACHE_A",
            "CACHE_B",
        ):  # as torch keeps the place of its cache, for the rest of the process
            os.environ[name] = str(made)
        monkeypatch.setenv("CACHE_C", "elsewhere")
    assert tempfile.gettempdir() == before
    assert [os.environ.get(f"CACHE_{letter}") for letter in "ABC"] == ["mine", None, "elsewhere"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free space or choose another folder"),
        (errno.EROFS, "Choose a folder that you may write to"),
        (errno.EACCES, "Choose a folder that you may write to"),
        (errno.ENAMETOOLONG, "Choose a shorter name"),
    ],
)
def test_the_remedy_is_that_of_the_reason_and_no_temporary_file_is_named(
    number: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_text", fails)
    with pytest.raises(OSError, match=remedy) as raised:
        write_new(tmp_path / "config.yaml", "seed: 0")
    assert str(raised.value).startswith(f"Cannot write {tmp_path / 'config.yaml'}: {os.strerror(number)}. ")
    assert raised.value.errno == number
