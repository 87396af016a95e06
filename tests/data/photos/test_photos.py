"""Files, folders and arrays of pictures that are no data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from secateur.data.augment import resize
from secateur.data.photos import find_photos, normalised

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def save(path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS).save(path, **options)
    return path


def read(*paths: Path) -> dict[str, torch.Tensor]:
    return {name: x for photos in find_photos(paths)[0] for name, x in photos.read()}


def test_pictures_and_arrays_of_every_form_are_the_same(tmp_path: Path) -> None:
    save(tmp_path / "a.PNG")
    save(tmp_path / "inside" / "a.png")
    floats = (PIXELS / 255).astype(np.float32)
    np.save(tmp_path / "b.npy", np.stack([PIXELS] * 11))
    np.savez(tmp_path / "c.npz", one=floats, **{"../two": floats.transpose(2, 0, 1)[None]})
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.png").write_text("x")
    found = read(tmp_path)
    names = {"a", "inside/a", *(f"b-{i:02}" for i in range(11)), "c-one", "c-.._two-0"}
    assert set(found) == names
    for x in found.values():
        assert torch.allclose(x, torch.from_numpy(PIXELS).permute(2, 0, 1) / 255, atol=1e-6)
    assert find_photos([tmp_path])[1] == find_photos([tmp_path, tmp_path, tmp_path])[1] == 1


def test_a_phone_held_upright_gives_an_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    (x,) = read(save(tmp_path / "a.png", exif=exif)).values()
    assert x.shape == (3, 8, 6)
    assert torch.equal((x * 255).round().byte()[:, 0], torch.from_numpy(PIXELS[::-1, 0].T.copy()))


def test_links_to_folders_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    root = tmp_path / "root"
    save(root / "b" / "x.png")
    save(tmp_path / "disk" / "y.png")
    save(tmp_path / "disk" / "__MACOSX" / "z.png")
    (root / "linked").symlink_to(tmp_path / "disk")
    (root / "a").symlink_to(root / "b")
    (root / "c").symlink_to(root / "b")
    (tmp_path / "disk" / "up").symlink_to(root)
    (root / "b" / "here").symlink_to(root / "b")
    assert set(read(root)) == {"b/x", "linked/y"}
    (root / "b" / "read.me").symlink_to(tmp_path / "gone.txt")
    assert set(read(root)) == {"b/x", "linked/y"}
    (root / "b" / "gone.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError, match=r"gone\.png is a link to .*, where there is nothing"):
        find_photos([root])


def test_names_that_would_meet_are_told_apart_or_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "A.bmp")
    assert set(read(tmp_path)) == {"a.png", "A.bmp"}
    assert len(read(tmp_path / "a.png", tmp_path / "a.png")) == 1
    save(tmp_path / "other" / "a.png")
    with pytest.raises(ValueError, match=r"Several pictures would be called 'a\.png'"):
        read(tmp_path / "a.png", tmp_path / "other" / "a.png")


def test_everything_that_is_no_picture_is_named_at_once(tmp_path: Path) -> None:
    save(tmp_path / "good.png")
    cut = save(tmp_path / "cut.png")
    cut.write_bytes(cut.read_bytes()[:-40])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "drawing.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "flat.npy", np.zeros((3, 4)))
    with pytest.raises(ValueError, match="And 1 more") as said:
        find_photos([tmp_path])
    for name in ("cut.png", "empty.jpg", "drawing.png", "deep.png", "flat.npy"):
        assert name in str(said.value)
    assert "good.png" not in str(said.value)
    with pytest.raises(ValueError, match=r"objects\.npy"):
        find_photos([tmp_path / "objects.npy"])
    np.save(tmp_path / "normal.npy", np.full((4, 4, 3), -1.5, np.float32))
    with pytest.raises(ValueError, match=r"normal\.npy.*floats in \[0, 1\]"):
        find_photos([tmp_path / "normal.npy"])


@pytest.mark.parametrize("shape", [(3, 8, 3), (2, 3, 8, 3), (3, 3, 3)])
def test_an_array_whose_channels_could_be_at_either_end_is_refused(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"a\.npy.*nobody can tell, so save it as \.png"):
        find_photos([tmp_path / "a.npy"])


def test_three_pictures_are_not_taken_for_channels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([PIXELS] * 3))
    np.save(tmp_path / "b.npy", np.stack([PIXELS.transpose(2, 0, 1)] * 3))
    found = read(tmp_path)
    assert len(found) == 6
    for x in found.values():
        assert torch.allclose(x, torch.from_numpy(PIXELS).permute(2, 0, 1) / 255, atol=1e-6)


def test_a_picture_is_resized_as_those_of_training() -> None:
    x = torch.from_numpy(PIXELS).permute(2, 0, 1) / 255
    found = normalised(x, (3, 4), (0.5, 0.5, 0.25), (0.5, 1.0, 1.0))
    wanted = resize({"image": x}, (3, 4))["image"]
    assert torch.allclose(found[0], (wanted[0] - 0.5) * 2)
    assert torch.allclose(found[2], wanted[2] - 0.25)
