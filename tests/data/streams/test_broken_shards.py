"""Shards that are missing, cut short, damaged, or hold something else: each is named, and nothing in them is run."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miniatures.hf_images import encoded
from miniatures.shards import sample, written
from miniatures.streams import KINDS, flat, last, settings, streamed, streams
from secateur.data.hf_images import hf_images

pytestmark = pytest.mark.usefixtures("_quiet_datasets")
SPLITS = {"train": list(range(1, 15)), "validation": [21, 22], "test": [23, 24, 25]}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def root(kind: str, tmp_path: Path) -> Path:
    return streams(kind, tmp_path / "set", **SPLITS)


def read(kind: str, root: Path, **changes: Any) -> list[int]:
    data: Any = streamed(kind, root, **{"batch": 1, **changes})
    return flat(data.train, data)


def test_cut_short_at_any_byte_is_said(kind: str, root: Path) -> None:
    path = last(root, kind)
    content = path.read_bytes()
    for share in (0.999, 0.9, 0.5, 0.1):
        path.write_bytes(content[: int(len(content) * share)])
        try:
            found = read(kind, root)
        except ValueError as error:
            assert path.name in str(error)  # noqa: PT017
        else:
            assert kind == "tar"
            assert not any(content[int(len(content) * share) :])  # zeros that fill it up
            assert len(found) == 14
    path.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=f"{path.name} is missing or empty"):
        read(kind, root)


def test_flipped_bytes_are_said_or_change_no_more_than_a_picture(kind: str, root: Path) -> None:
    path = last(root, kind)
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        try:
            found = read(kind, root)
        except (ValueError, FileNotFoundError) as error:
            assert path.name in str(error)  # noqa: PT017
        else:
            assert len(found) == 14, place


def test_a_shard_that_goes_while_it_is_read(kind: str, root: Path) -> None:
    data: Any = streamed(kind, root, batch=1)
    for path in root.rglob("*train*/*.arrow" if kind == "saved" else f"*.{kind}"):
        path.unlink()
    with pytest.raises((FileNotFoundError, ValueError), match="is missing or empty"):
        next(data.train.from_step(0))


def test_a_shard_that_is_replaced_while_it_is_read(kind: str, root: Path, tmp_path: Path) -> None:
    data: Any = streamed(kind, root, batch=1)
    batches, path = data.train.from_step(0), last(root, kind)
    next(batches)
    last(streams(kind, tmp_path / "other", **{**SPLITS, "train": [1, 2]}), kind).replace(path)
    with pytest.raises(ValueError, match=rf"{path.name} has \d+ bytes and had \d+ .*begin anew"):
        flat(batches, data, 40)


def test_what_is_asked_and_is_not_there(kind: str, root: Path, tmp_path: Path) -> None:
    labels = settings(kind)["labels"]
    with pytest.raises(ValueError, match=r"breed.*(it has|only png, cls, json)"):
        read(kind, root, labels={**labels, "kind": "breed"})
    with pytest.raises(ValueError, match=r"photo.*(it has|only png, cls, json)"):
        read(kind, root, image="photo")
    for count in (0, -5):
        with pytest.raises(ValueError, match=f"buffer={count}"):
            read(kind, root, buffer=count)
    with pytest.raises(ValueError, match="'colour' must be one of the tasks"):
        read(kind, root, classes={"colour": 3})
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read(kind, tmp_path / "nowhere")


def test_a_batch_that_the_images_do_not_fill(kind: str, root: Path) -> None:
    with pytest.raises(ValueError, match="do not fill one batch of 40"):
        next(streamed(kind, root, batch=40).train.from_step(0))  # type: ignore[attr-defined]


def test_tars_alone_are_not_taken_for_rows(tmp_path: Path) -> None:
    root = streams("tar", tmp_path / "set", **SPLITS)
    with pytest.raises(ValueError, match="tar shards, which can be streamed alone; give stream=true"):
        hf_images(root=str(root), **{**settings("tar"), "stream": False})
    with pytest.raises(
        ValueError, match=r"how many classes task 'kind' has; give classes, such as {kind: 1000}"
    ):
        streamed("tar", root, classes=None)
    with pytest.raises(ValueError, match=r"cls: label 2; with 2 classes labels are 0 to 1"):
        read("tar", root, classes={"kind": 2, "count": 5})
    (root / "x.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match="both tar shards and Parquet"):
        streamed("tar", root)
    (root / "x.parquet").rename(root / "set-train-9999.tar.gz")
    with pytest.raises(ValueError, match=r"9999.tar.gz is compressed"):
        streamed("tar", root)
    (root / "set-train-9999.tar.gz").rename(root / "other.tar")
    with pytest.raises(ValueError, match=r"other.tar is of no split"):
        streamed("tar", root)


def test_a_tar_without_samples_is_passed_over_and_no_sample_at_all_is_said(tmp_path: Path) -> None:
    root = streams("tar", tmp_path / "set", **SPLITS)
    written(root / "set-train-0009.tar", [])
    assert sorted(read("tar", root)) == SPLITS["train"]
    for path in root.glob("*train*"):
        written(path, [])
    with pytest.raises(ValueError, match="no sample in 3 shards"):
        read("tar", root)


def evil(path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> None:
    written(path, [change(sample(n)) for n in range(1, 4)])


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_that_is_empty_or_of_another_kind_is_said_before_training(split: str, tmp_path: Path) -> None:
    for number, (found, said) in enumerate(
        [
            ([], rf"no sample in . shards \(set-{split}-0000.tar"),
            ([{"png": sample(1)["png"]}], "has no cls, only png"),
            ([{**sample(1), "cls": b"9"}], "label 9; with 3 classes"),
            ([{**sample(1), "json": b"[1, 2]"}], "holds no json.legs"),
            ([{**sample(1), "cls": b"x" * 5000}], r"label 'x{39}; with"),
        ]
    ):
        root = streams("tar", tmp_path / str(number), **SPLITS)
        for path in root.glob(f"*{split}*"):
            written(path, found)
        with pytest.raises(ValueError, match=said):
            streamed("tar", root)


def test_a_column_that_is_no_value_and_classes_that_are_no_number(tmp_path: Path) -> None:
    root = streams("tar", tmp_path / "set", **SPLITS)
    for column in ("json", "json.", "about.json"):
        with pytest.raises(ValueError, match=rf"Column {column} is all that a JSON file holds; name a value"):
            streamed("tar", root, labels={"kind": column}, classes={"kind": 3})
    for count in (1, 2.5, "3", True, 10**12):
        with pytest.raises(ValueError, match=r"'kind' must be one of the tasks .* and have 2 to \d+ classes"):
            streamed("tar", root, labels={"kind": "cls"}, classes={"kind": count})


class Runs:
    def __reduce__(self) -> Any:
        return exec, ("import pathlib; pathlib.Path('ran').touch()",)


@pytest.mark.parametrize("ending", ["pyd", "cls.pickle", "PKL", "pth"])
def test_pickled_files_are_refused(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = streams("tar", tmp_path / "set", **SPLITS)
    evil(root / "set-train-0001.tar", lambda s: {**s, ending: pickle.dumps(Runs())})
    with pytest.raises(ValueError, match=rf"0001.tar holds {ending}, which is pickled"):
        read("tar", root)
    with pytest.raises(ValueError, match=rf"name {ending}, which is pickled"):
        read("tar", root, labels={"kind": ending}, classes={"kind": 3})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cls": b"1" * 2**21}, "has 2097152 bytes; a label has not"),
        ({"json": b"[" * 100_000}, "holds no json.legs"),
        ({"json": b'{"wings": 2}'}, "holds no json.legs"),
        ({"json": b"\xff"}, "holds no json.legs"),
        ({"json": b'{"legs": 2.5}'}, "label 2.5"),
        ({"cls": b"cat"}, "label 'cat'"),
        ({"cls": b"7"}, "label 7; with 3 classes"),
        ({"png": b"pickle"}, "is corrupt or no image"),
    ],
)
def test_contents_that_are_no_labels(changed: dict[str, bytes], said: str, tmp_path: Path) -> None:
    root = streams("tar", tmp_path / "set", **SPLITS)
    evil(root / "set-train-0001.tar", lambda s: {**s, **changed})
    with pytest.raises(ValueError, match=rf"0001.tar, sample 00000\d, .*{said}"):
        read("tar", root)


def test_tars_that_are_made_to_harm(tmp_path: Path) -> None:
    root = streams("tar", tmp_path / "set", **SPLITS)
    path = root / "set-train-0001.tar"

    def with_member(**changes: Any) -> None:
        with tarfile.open(path, "w") as tar:
            member = tarfile.TarInfo("a.png")
            content = b"" if changes else encoded(1)["bytes"]
            member.size = len(content)
            for name, value in changes.items():
                setattr(member, name, value)
            tar.addfile(member, io.BytesIO(content))

    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with_member(type=kind, linkname="/etc/passwd")
        with pytest.raises(ValueError, match=r"0001.tar, a.png is a link or a device, .*--dereference"):
            read("tar", root)
    for name in ("a.png/", "__a__/1.png"):  # a folder, and what WebDataset leaves out
        with_member(type=tarfile.DIRTYPE if name[-1] == "/" else tarfile.SYMTYPE, name=name)
        assert len(read("tar", root)) == 7
    for name in ("/etc/passwd.png", "../../a.png"):  # is no place, and nothing is written there
        with_member(name=name, type=tarfile.REGTYPE)
        with pytest.raises(ValueError, match=rf"sample {name.removesuffix('.png')} has no cls"):
            read("tar", root)
    with_member(
        pax_headers={"GNU.sparse.major": "0", "GNU.sparse.size": "99999999999999", "GNU.sparse.map": "0,0"}
    )
    with pytest.raises(ValueError, match=r"0001.tar, a.png says that it has 99999999999999 bytes"):
        read("tar", root)
    path.write_bytes(path.read_bytes() + path.read_bytes())
    with pytest.raises(ValueError, match=r"0001.tar"):
        read("tar", root)
    written(path, [sample(1), sample(2)])
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ValueError, match=r"0001.tar goes on after byte \d+, .*another was appended"):
        read("tar", root)
    content = bytearray(path.read_bytes())
    content[1024:1536] = b"x" * 512  # a header in the middle, which tarfile takes for the end
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"0001.tar"):
        read("tar", root)
