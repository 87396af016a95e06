"""The lists of PACS: as they are distributed, and disjoint ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from miniatures.domains import CLASSES, folders
from secateur.data.domains.domains import domain_images

PACS = {"train": range(8), "crossval": range(8, 10), "test": range(10)}  # the test list is the whole domain
DISJOINT = {"train": range(6), "crossval": range(6, 8), "test": range(8, 10)}


def lists(root: Path, parts: dict[str, Iterable[int]]) -> Path:
    """Ten images of each class, and lists of them; labels count the folders from 1."""
    folders(root)
    for domain in ("photo", "sketch"):
        for split, chosen in parts.items():
            lines = [f"{domain}/{c}/{i}.png {n}" for n, c in enumerate(CLASSES, 1) for i in chosen]
            (root / f"{domain}_{split}_kfold.txt").write_text("\n".join(lines) + "\n")
    return root


def numbers(root: Path, split: str) -> list[tuple[str, int]]:
    images = domain_images(root=str(root))["photo"]
    return sorted((Path(images.names[i]).parent.name, int(images.names[i][-5])) for i in images.splits[split])


def test_the_lists_of_pacs_are_tested_on_crossval(tmp_path: Path) -> None:
    lists(tmp_path, PACS)
    assert numbers(tmp_path, "test") == [(c, i) for c in CLASSES for i in (8, 9)]
    learnt = sorted(numbers(tmp_path, "train") + numbers(tmp_path, "val"))
    assert learnt == [(c, i) for c in CLASSES for i in range(8)]
    assert {c for c, _ in numbers(tmp_path, "val")} == set(CLASSES)


def test_disjoint_lists_train_on_crossval_too(tmp_path: Path) -> None:
    lists(tmp_path, DISJOINT)
    assert numbers(tmp_path, "test") == [(c, i) for c in CLASSES for i in (8, 9)]
    learnt = sorted(numbers(tmp_path, "train") + numbers(tmp_path, "val"))
    assert learnt == [(c, i) for c in CLASSES for i in range(8)]


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({**PACS, "test": range(7, 10)}, r"train_kfold.txt, line 8 and .*test_kfold.txt, line 1 both list"),
        ({**PACS, "test": range(8)}, r"train_kfold.txt, line 1 and .*test_kfold.txt, line 1 both list"),
        (
            {**PACS, "crossval": range(7, 10)},
            r"train_kfold.txt, line 8 and .*crossval_kfold.txt, line 1 both",
        ),
        ({**DISJOINT, "test": range(7, 10)}, r"crossval_kfold.txt, line 2 and .*test_kfold.txt, line 1 both"),
        ({**PACS, "test": range(9), "crossval": [8]}, r"3 images of domain 'photo' are on none .*cat/9.png"),
    ],
)
def test_lists_that_contradict_each_other(tmp_path: Path, parts: dict, match: str) -> None:
    lists(tmp_path, parts)
    with pytest.raises(ValueError, match=match):
        domain_images(root=str(tmp_path))


@pytest.mark.parametrize("absent", sorted(PACS))
def test_lists_that_are_there_in_part(tmp_path: Path, absent: str) -> None:
    lists(tmp_path, PACS)
    (tmp_path / f"photo_{absent}_kfold.txt").unlink()
    with pytest.raises(FileNotFoundError, match=rf"photo_{absent}_kfold.txt is missing, but others"):
        domain_images(root=str(tmp_path))


def test_unlisted_images_are_counted(tmp_path: Path) -> None:
    lists(tmp_path, {**DISJOINT, "test": [8]})
    with pytest.raises(
        ValueError, match=r"3 images of domain 'photo' .*cat/9.png, .*dog/9.png, .*elephant/9.png; list them"
    ):
        domain_images(root=str(tmp_path))


@pytest.mark.parametrize(
    ("line", "error", "match"),
    [
        ("photo/cat/99.png 1", FileNotFoundError, r"line 1 lists .*99\.png, which is absent"),
        ("photo/cat/0.png", ValueError, r"line 1: 'photo/cat/0.png'; it must be a path and a number"),
        ("photo/cat/0.png 2", ValueError, r"line 1: label 2 for an image of 'cat', but .*line 1 has 1"),
        ("photo/cat/0.png 7", ValueError, r"line 1: label 7 for an image of 'cat', but .*line 1 has 1"),
    ],
)
def test_lines_that_are_wrong(tmp_path: Path, line: str, error: type[Exception], match: str) -> None:
    listed = lists(tmp_path, PACS) / "photo_test_kfold.txt"
    lines = listed.read_text().splitlines()
    listed.write_text("\n".join([line, *lines[1:]]))
    with pytest.raises(error, match=rf"photo_test_kfold.txt, {match}"):
        domain_images(root=str(tmp_path))


def test_two_classes_of_one_label(tmp_path: Path) -> None:
    lists(tmp_path, PACS)
    for path in tmp_path.glob("photo_*.txt"):
        path.write_text(path.read_text().replace(" 3\n", " 2\n"))
    with pytest.raises(
        ValueError,
        match=rf"line {2 * 8 + 1}: label 2 for an image of 'elephant', but .*has 2 for one of 'dog'",
    ):
        domain_images(root=str(tmp_path))


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    (lists(tmp_path, PACS) / "photo_test_kfold.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"photo_test_kfold.txt is no UTF-8 text"):
        domain_images(root=str(tmp_path))
