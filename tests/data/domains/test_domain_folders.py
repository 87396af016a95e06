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
