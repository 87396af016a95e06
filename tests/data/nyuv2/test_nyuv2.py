from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from miniatures.nyuv2_own import frame, write_archive, write_folder
from secateur.data.data import Data
from secateur.data.loading import StepLoader
from secateur.data.nyuv2.archive import ArrayFrames, read_archive
from secateur.data.nyuv2.layouts import Wanted, read_layout
from secateur.data.nyuv2.nyuv2 import CLASSES_13, CLASSES_40, nyuv2

TASKS = ("seg", "normal", "depth")
SETTINGS: dict[str, Any] = {"size": (12, 16), "batch": 2, "val_count": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "nyu")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "archive")


def replace(path: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(path)


def numbers(batches: Any) -> list[int]:
    """Frame numbers of the made-up frames in ``batches``, read off their red."""
    mean, std = 0.4852, 0.2797
    return sorted(
        round((float(x) * std + mean) * 255 / 20) for image, _ in batches for x in image[:, 0].mean((1, 2))
    )


def test_folder_and_archive_hold_the_same(folder: Path, archive: Path) -> None:
    a, b = nyuv2(root=str(folder), **SETTINGS), nyuv2(root=str(archive.parent), **SETTINGS)
    assert a.channels == b.channels == {"seg": 13, "normal": 3, "depth": 1}
    for x, y in ((a.test, b.test), (a.val, b.val)):
        for (image, targets), (image_b, targets_b) in zip(x, y, strict=True):
            assert isinstance(image, Tensor)
            assert isinstance(image_b, Tensor)
            torch.testing.assert_close(image, image_b, atol=0.02, rtol=0)  # JPEG
            assert torch.equal(targets["seg"], targets_b["seg"])
            assert torch.equal(targets["depth"], targets_b["depth"])
            assert float((targets["normal"] * targets_b["normal"]).sum(1).min()) > np.cos(np.radians(3.0))
    assert numbers(nyuv2(root=str(archive), **SETTINGS).test) == [7, 8, 9]


def test_values_are_decoded_as_documented(folder: Path) -> None:
    data = nyuv2(root=str(folder), **SETTINGS)
    _, targets = next(iter(data.test))
    made = frame(7)
    assert targets["seg"][0].tolist() == made["seg13"].tolist()
    torch.testing.assert_close(targets["depth"][0, 0], torch.tensor(made["depth"].astype(np.float32)) / 1000)
    normal = torch.tensor(made["normal_i8"] / 127.0).permute(2, 0, 1).float()
    torch.testing.assert_close(targets["normal"][0], normal, atol=0.02, rtol=0)
    torch.testing.assert_close(targets["normal"].norm(dim=1), torch.ones(2, 12, 16), atol=1e-3, rtol=0)


def test_black_and_white_are_no_normals(folder: Path) -> None:
    normal = frame(7)["normal"]
    normal[0, 0], normal[0, 1], normal[0, 2] = 255, 0, 128
    replace(folder / "test" / "normal" / "0007.png", normal)
    _, targets = next(iter(nyuv2(root=str(folder), **SETTINGS).test))
    assert targets["normal"][0, :, 0, :3].abs().sum() == 0
    assert targets["normal"][0, :, 0, 3].norm() > 0.99


def test_validation_is_held_out_of_training_by_seed(folder: Path) -> None:
    settings = {**SETTINGS, "augment": False}
    splits: set[tuple[int, ...]] = set()
    for seed in range(5):
        data, again = (nyuv2(root=str(folder), seed=seed, **settings) for _ in range(2))
        held = numbers(data.val)
        assert held == numbers(again.val)
        assert sorted(numbers(data.train) + held) == [1, 2, 3, 4, 5, 6]
        assert numbers(data.test) == [7, 8, 9]
        splits.add(tuple(held))
    assert len(splits) > 1


def test_forty_classes_and_fewer_tasks(folder: Path) -> None:
    data = nyuv2(root=str(folder), tasks=("seg",), classes=40, **SETTINGS)
    assert data.classes == {"seg": CLASSES_40}
    assert (len(CLASSES_13), len(CLASSES_40), data.channels) == (13, 40, {"seg": 40})
    assert next(iter(data.test))[1]["seg"][0].tolist() == frame(7)["seg40"].tolist()


def test_only_the_files_of_the_tasks_are_needed(folder: Path) -> None:
    for path in folder.glob("*/normal/*"):
        path.unlink()
    assert list(nyuv2(root=str(folder), tasks=("depth",), **SETTINGS).tasks) == ["depth"]


def test_another_size_resizes_and_keeps_depth_values(folder: Path) -> None:
    data = nyuv2(root=str(folder), **{**SETTINGS, "size": (6, 8)})
    image, targets = next(iter(data.test))
    assert isinstance(image, Tensor)
    assert (tuple(image.shape), data.size) == ((2, 3, 6, 8), (6, 8))
    expected = torch.tensor(frame(7)["depth"][1::2, 1::2].astype(np.float32)) / 1000
    torch.testing.assert_close(targets["depth"][0, 0], expected)


def failing(root: Path, error: type[Exception], match: str, **changes: Any) -> None:
    with pytest.raises(error, match=match):
        nyuv2(root=str(root), **{**SETTINGS, **changes})


def test_missing_roots_and_lists_are_named(folder: Path, tmp_path: Path) -> None:
    failing(tmp_path / "nowhere", FileNotFoundError, "nowhere.* does not exist; give the folder")
    (tmp_path / "bare").mkdir()
    failing(tmp_path / "bare", FileNotFoundError, "must be train.txt.*found nothing")
    failing(tmp_path, FileNotFoundError, "holds no NYU-v2.*found bare, nyu")
    (folder / "test.txt").unlink()
    failing(folder, FileNotFoundError, r"test.txt is missing or empty")


def test_a_half_empty_folder_is_counted(folder: Path) -> None:
    for name in ("0001", "0002", "0003", "0004"):
        (folder / "train" / "depth" / f"{name}.png").unlink()
    (folder / "train" / "seg13" / "0005.png").write_bytes(b"")
    failing(folder, FileNotFoundError, r"5 of the 24 files .*0001.png.*, \.\.\.\. Copy the folder again")
    assert nyuv2(root=str(folder), tasks=("normal",), **SETTINGS)


@pytest.mark.parametrize("kind", ["rgb/0008.jpg", "seg13/0008.png", "normal/0008.png", "depth/0008.png"])
def test_corrupt_images_are_named_before_training(folder: Path, kind: str) -> None:
    path = folder / "test" / kind
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    failing(folder, ValueError, f"{path.name} is corrupt")
    path.write_text("not an image")
    failing(folder, ValueError, f"{path.name} is corrupt")


def test_wrong_contents_are_named(folder: Path) -> None:
    seg, kept = folder / "train" / "seg13" / "0003.png", frame(3)["seg13"]
    wrong = kept.copy()
    wrong[2, 2] = 13
    replace(seg, wrong)
    failing(folder, ValueError, "0003.png: label 13; with 13 classes labels are 0 to 12, or 255")
    replace(seg, kept[:6])
    failing(folder, ValueError, "0003.png is 16x6 pixels, but the frame's image is 16x12")
    replace(seg, frame(3)["normal"])
    failing(folder, ValueError, "0003.png: shape .*seg must be one channel")
    replace(seg, kept)
    replace(folder / "train" / "normal" / "0003.png", kept)
    failing(folder, ValueError, "normal must be 8-bit RGB")
    replace(folder / "train" / "depth" / "0003.png", kept)
    failing(folder, ValueError, "0003.png: uint8; depth must be 16-bit", tasks=("depth",))


def test_archives_that_are_broken_or_lack_arrays_are_named(archive: Path) -> None:
    failing(archive, ValueError, r"frames.npz lacks the arrays \['train_seg40', 'test_seg40'\]", classes=40)
    with np.load(archive) as file:
        arrays = dict(file)
    arrays["test_seg13"][1, 0, 0] = 77
    np.savez(archive, **arrays)
    failing(archive, ValueError, "frames.npz, test frame 1, seg: label 77")
    arrays["train_depth_mm"] = arrays["train_depth_mm"][:, :6]
    np.savez(archive, **arrays)
    failing(archive, ValueError, "train: depth has shape .*but the image begins with")
    archive.write_bytes(archive.read_bytes()[:200])
    failing(archive, ValueError, "frames.npz cannot be read as an .npz archive")


def test_arguments_out_of_range_are_refused(folder: Path) -> None:
    failing(folder, ValueError, "tasks=.*'edges'", tasks=("seg", "edges"))
    failing(
        folder, ValueError, "val_count=6, but there are 6 training frames; give between 1 and 5", val_count=6
    )
    failing(folder, ValueError, "val_count=0", val_count=0)
    failing(folder, ValueError, "classes=14", classes=14)
    failing(folder, ValueError, "size=", size=(0, 16))
    failing(folder, ValueError, "do not fill one batch of 16", batch=16)


def test_the_real_fixture_trains(nyuv2_mini_root: Path) -> None:
    data: Data = nyuv2(root=str(nyuv2_mini_root), size=(60, 80), batch=8, val_count=8)
    assert isinstance(data.train, StepLoader)
    assert (len(data.train), len(list(data.val)), len(list(data.test))) == (5, 1, 3)
    for image, targets in islice(data.train.from_step(3), 4):
        assert isinstance(image, Tensor)
        assert abs(float(image.mean())) < 1.0
        assert int(targets["seg"][targets["seg"] != 255].max()) < 13
        assert 0.4 < float(targets["depth"].min()) < float(targets["depth"].max()) < 10.0
        for name, task in data.tasks.items():
            assert bool(torch.isfinite(task.loss(torch.randn(8, data.channels[name], 8, 10), targets[name])))


def test_the_real_folder_and_its_fixture_agree(nyuv2_root: Path, nyuv2_mini_root: Path) -> None:
    path = nyuv2_mini_root / "nyuv2_mini.npz"
    with np.load(path) as file:
        names = [f"{i:04d}" for i in file["test_id"][:5]]
    full = read_layout(Wanted(nyuv2_root, TASKS, (120, 160), 13), "folder")["test"]
    listed = (nyuv2_root / "test.txt").read_text().split()
    small = ArrayFrames(path, "test", read_archive(path, TASKS, 13), TASKS, (60, 80), 13)
    for i, name in enumerate(names):
        a, b = full[listed.index(name)], small[i]
        assert torch.equal(a["seg"][::2, ::2], b["seg"])
        assert torch.equal(a["depth"][:, ::2, ::2], b["depth"])
        assert float((a["normal"][:, ::2, ::2] * b["normal"]).sum(0).min()) > 0.999


@pytest.mark.slow
def test_all_real_frames_load(nyuv2_root: Path) -> None:
    data = nyuv2(root=str(nyuv2_root))
    assert isinstance(data.train, StepLoader)
    assert (len(data.train), len(list(data.val)), len(list(data.test))) == (715 // 16, 5, 41)
    forty = nyuv2(root=str(nyuv2_root), classes=40, tasks=("seg",), size=(60, 80))
    assert forty.channels == {"seg": 40}
