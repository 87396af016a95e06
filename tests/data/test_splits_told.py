"""Which split a file is of: as the words of its name and folders tell it, never by guessing."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from secateur.data.arrow import files_by_split, has_files
from secateur.data.splitting import split_of
from secateur.data.streams.finding import shards_by_split


def laid(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def told(root: Path) -> dict[str, list[str]]:
    return {s: [str(f.relative_to(root)) for f in files] for s, files in files_by_split(root).items()}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Train/0.parquet", "train"),
        ("TEST/0.parquet", "test"),
        ("default/partial-train/0000.parquet", "train"),
        ("mnist_train.parquet", "train"),
        ("mnist.test.parquet", "test"),
        ("train2017/0.tar", "train"),
        ("set-Validation-0000.tar", "validation"),
        ("dev/0.parquet", "validation"),
        ("evaluation-0.parquet", "test"),
        ("training/part-0.parquet", "train"),
        ("test/data_of_train.parquet", "train"),
        ("train/val_crops/0.parquet", "train"),
        ("train_and_test/0.parquet", None),
        ("test-train.parquet", None),
        ("training/test-train.parquet", "train"),
        ("trained/0.parquet", None),
        ("contest.parquet", None),
    ],
)
def test_words_tell_it_in_any_case(name: str, split: str | None) -> None:
    assert split_of(Path(name)) == split


@pytest.mark.parametrize(
    "names",
    [
        ("Train/0.parquet", "Test/0.parquet"),
        ("default/partial-train/0000.parquet", "default/partial-test/0000.parquet"),
        ("mnist_train.parquet", "mnist_test.parquet"),
    ],
)
def test_test_data_are_not_trained_on(tmp_path: Path, names: tuple[str, str]) -> None:
    assert told(laid(tmp_path, *names)) == {"train": [names[0]], "test": [names[1]]}
    tars = laid(tmp_path / "tars", *(name.replace("parquet", "tar") for name in names))
    assert {s: len(files) for s, files in shards_by_split(tars).items()} == {"train": 1, "test": 1}


def test_parts_without_a_split_are_training_and_what_might_be_several_things_is_said(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(files_by_split(laid(tmp_path / "parts", "0.parquet", "10.parquet"))["train"]) == 2
    with pytest.warns(
        UserWarning, match=r"tells a split .* so all 2 files are training: faces.parquet, held.parquet"
    ):
        files_by_split(laid(tmp_path / "named", "faces.parquet", "held.parquet"))


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("cropped/train-0.parquet", "full/train-0.parquet", "full/test-0.parquet"), "train"),
        (("cropped/train/0.parquet", "full/train/0.parquet"), "train"),
        (("train/0.parquet", "cropped/test/0.parquet", "full/test/0.parquet"), "test"),
        (("cropped/0.parquet", "full/0.parquet"), "train"),
        (("train/0.parquet", "dev/0.parquet", "val/0.parquet"), "validation"),
        (("snapshots/a/data/train-0.parquet", "snapshots/b/data/train-0.parquet"), "train"),
        (("v1/train-0.parquet", "v2/train-0.parquet"), "train"),
        (("train1/0.parquet", "train2/0.parquet", "test/0.parquet"), "train"),
    ],
)
def test_several_data_sets_are_not_mixed(tmp_path: Path, names: tuple[str, ...], split: str) -> None:
    with pytest.raises(
        ValueError, match=f"would both be {split}, but lie in folders of their own.* give the folder"
    ):
        files_by_split(laid(tmp_path / "rows", *names))
    with pytest.raises(ValueError, match=f"would both be {split}"):
        shards_by_split(laid(tmp_path / "tars", *(name.replace("parquet", "tar") for name in names)))


@pytest.mark.parametrize(
    "names",
    [
        ("000/0.parquet", "001/1.parquet", "010/2.parquet"),
        ("part1/train-0.parquet", "part2/train-1.parquet"),
        ("train1/0.parquet", "train2/1.parquet"),
        ("train/part-0/0.parquet", "train/part-1/0.parquet"),
    ],
)
def test_numbered_folders_are_parts_of_one_data_set(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert told(laid(tmp_path / "rows", *names)) == {"train": [*names]}
    tars = laid(tmp_path / "tars", *(name.replace("parquet", "tar") for name in names))
    assert {s: len(files) for s, files in shards_by_split(tars).items()} == {"train": len(names)}


def test_the_folders_in_that_of_a_split_are_its_own(tmp_path: Path) -> None:
    names = [
        "train/year=2020/0.parquet",
        "train/year=2021/train-1.parquet",
        "test/a/0.parquet",
        "test/b/0.parquet",
    ]
    assert {s: len(files) for s, files in told(laid(tmp_path, *names)).items()} == {"train": 2, "test": 2}


def test_links_to_folders_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    root = laid(tmp_path / "set", "train/0.parquet")
    laid(tmp_path / "disk", "held/0.parquet", "held/deep/1.parquet")
    (root / "test").symlink_to(tmp_path / "disk" / "held")
    (root / "train" / "up").symlink_to(root)
    (tmp_path / "disk" / "held" / "back").symlink_to(root / "test")
    (tmp_path / "disk" / "held" / "over").symlink_to(root)
    assert told(root) == {"train": ["train/0.parquet"], "test": ["test/0.parquet", "test/deep/1.parquet"]}


def test_a_file_that_links_lead_to_is_taken_once(tmp_path: Path) -> None:
    root = laid(tmp_path / "set", "train/0.parquet", "test/0.parquet", "parts/2.parquet")
    laid(tmp_path / "disk", "1.parquet")
    (root / "latest").symlink_to("train")
    (root / "train" / "copy").symlink_to("../parts")
    for name in ("a", "b"):
        (root / "train" / name).symlink_to(tmp_path / "disk")
    train = ["train/0.parquet", "train/a/1.parquet", "train/copy/2.parquet"]
    assert told(root) == {"train": train, "test": ["test/0.parquet"]}
    (root / "dev").symlink_to("test")
    assert told(root)["validation"] == ["dev/0.parquet"]


def test_what_is_learnt_from_and_tested_on_is_said(tmp_path: Path) -> None:
    root = laid(tmp_path, "pool/0.parquet")
    for name in ("train", "test"):
        (root / name).symlink_to("pool")
    with pytest.warns(
        UserWarning, match=r"train/0.parquet and .*test/0.parquet are one file, so what is lea.* test too"
    ):
        assert told(root) == {"train": ["train/0.parquet"], "test": ["test/0.parquet"]}


def test_a_link_to_nothing_that_is_no_data_ends_nothing(tmp_path: Path) -> None:
    root = laid(tmp_path, "train-0.parquet")
    (root / "train.log").symlink_to(tmp_path / "gone")
    assert told(root) == {"train": ["train-0.parquet"]}
    (root / "test.parquet").symlink_to(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"test.parquet is a link to"):
        told(root)
    (root / "test.parquet").unlink()
    (root / "test-v1.0").symlink_to(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"test-v1.0 is a link to"):
        told(root)


def test_a_split_that_is_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    root = laid(tmp_path, "train/0.parquet")
    (root / "other").symlink_to(tmp_path / "gone")
    assert list(told(root)) == ["train"]
    (root / "test").symlink_to(tmp_path / "gone")
    for read in (files_by_split, shards_by_split, has_files):
        with pytest.raises(
            FileNotFoundError, match=r"test is a link to .*gone, where there is nothing; copy what"
        ):
            read(root)


def test_what_a_mac_leaves_is_no_data(tmp_path: Path) -> None:
    root = laid(
        tmp_path, "train-0.parquet", "._train-0.parquet", "__MACOSX/train-0.parquet", "@eaDir/train-0.parquet"
    )
    assert told(root) == {"train": ["train-0.parquet"]}
