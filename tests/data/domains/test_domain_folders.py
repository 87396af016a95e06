"""Folders of domains as they come: with what systems leave in them, links, photos of phones, and names of any case."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from miniatures.domains import folders, picture
from secateur.data.domains.domains import domain_images


def test_what_a_mac_or_an_archive_leaves_is_passed_over(tmp_path: Path) -> None:
    root = folders(tmp_path)
    before = {name: images.names for name, images in domain_images(root=str(root)).items()}
    (root / "photo" / "cat" / "._0.png").write_bytes(b"\0\5\26\7")
    for name in ("__MACOSX/photo/cat", "photo/__MACOSX/cat", "@eaDir", ".Trash"):
        (root / name).mkdir(parents=True)
    (root / "._photo_train.npz").write_bytes(b"\0\5\26\7")
    assert {name: images.names for name, images in domain_images(root=str(root)).items()} == before


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("photo/cat/x.png", r"1 images of .*photo are empty, or links that lead nowhere: .*x\.png"),
        ("photo/cow", r"photo/cow is a link to .*gone, where there is nothing"),
        ("cartoon", r"cartoon is a link to .*gone, where there is nothing"),
    ],
)
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, place: str, said: str) -> None:
    root = folders(tmp_path)
    (root / "photo" / "notes.txt").symlink_to(tmp_path / "gone")
    assert len(domain_images(root=str(root))) == 2
    (root / place).symlink_to(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=said):
        domain_images(root=str(root))


def test_a_photo_is_upright_as_the_camera_was_held(tmp_path: Path) -> None:
    root = folders(tmp_path)
    image = picture(1, (12, 16))
    exif = image.getexif()
    exif[274] = 6
    image.save(root / "photo" / "cat" / "0.png", exif=exif)
    turned = domain_images(root=str(root), size=(16, 12))["photo"][0]["image"]
    image.rotate(-90, expand=True).save(root / "photo" / "cat" / "0.png")
    upright = domain_images(root=str(root), size=(16, 12))["photo"][0]["image"]
    assert torch.equal(turned, upright)


@pytest.mark.parametrize("share", [0.6, 0.8, 0.99])
def test_no_class_is_held_out_whole(tmp_path: Path, share: float) -> None:
    root = folders(tmp_path, ("train", "test"))
    for path in (root / "photo" / "train" / "cat").iterdir():
        if int(path.stem) > 1:
            path.unlink()
    found = domain_images(root=str(root), val_share=share)["photo"]
    for split in ("train", "val"):
        assert {found.labels[i] for i in found.splits[split]} == {0, 1, 2}


def test_splits_are_told_in_any_case_and_a_class_may_be_called_train(tmp_path: Path) -> None:
    found = domain_images(root=str(folders(tmp_path / "a", ("Train", "TEST"))))["photo"]
    assert {Path(found.names[i]).parts[-3] for i in found.splits["test"]} == {"TEST"}
    root = folders(tmp_path / "b")
    for domain in ("photo", "sketch"):
        (root / domain / "dog").rename(root / domain / "train")
    assert domain_images(root=str(root))["photo"].classes == ("cat", "elephant", "train")


@pytest.mark.parametrize("splits", [("train", "test"), ("Training", "val", "TEST"), ("train2017", "val2017")])
def test_splits_that_hold_images_themselves_are_no_classes(tmp_path: Path, splits: tuple[str, ...]) -> None:
    for name in splits:
        (tmp_path / "photo" / name).mkdir(parents=True)
        for i in range(3):
            picture(i).save(tmp_path / "photo" / name / f"{i}.png")
    with pytest.raises(
        ValueError, match=r"photo/\w+ holds images itself, and .* \S+/photo/{class}/\*\.jpg or"
    ):
        domain_images(root=str(tmp_path))


@pytest.mark.parametrize("other", ["Train", "training", "train2"])
def test_of_two_folders_of_one_split_none_wins(tmp_path: Path, other: str) -> None:
    root = folders(tmp_path, ("train", "test", other))
    with pytest.raises(ValueError, match=r"photo/\w+ and \S+photo/\w+ would both be train; put them"):
        domain_images(root=str(root))


def test_a_domain_that_is_given_for_the_domains_is_told(tmp_path: Path) -> None:
    root = folders(tmp_path, ("train", "test"))
    with pytest.raises(
        ValueError, match=r"holds splits \(test, train\), so it is a domain itself; give the folder above"
    ):
        domain_images(root=str(root / "photo"))


def test_what_is_not_read_beside_the_splits_is_said(tmp_path: Path) -> None:
    root = folders(tmp_path, ("training", "test", "val"))
    with pytest.warns(
        UserWarning, match=r"photo: of the folders beside train and test nothing is read: val\."
    ):
        found = domain_images(root=str(root), tasks=["photo"])["photo"]
    assert len(found) == 60
