from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from miniatures.cityscapes import SETTINGS, H, W, mtan, official, stored
from secateur.data.augment import zoom
from secateur.data.cityscapes import CLASSES_7, CLASSES_19, cityscapes, cityscapes_frames, inverse, label_ids


@pytest.mark.parametrize(("classes", "labels"), [(7, [0, 1, 4, 6]), (19, [0, 2, 10, 18])])
def test_official_files_are_decoded_as_documented(tmp_path: Path, classes: Any, labels: list[int]) -> None:
    data = cityscapes(root=str(official(tmp_path)), classes=classes, **SETTINGS)
    assert data.channels == {"seg": classes, "depth": 1}
    assert data.classes == {"seg": CLASSES_7 if classes == 7 else CLASSES_19}
    assert (len(data.train), len(list(data.val))) == (2, 1)
    for number, (image, targets) in zip((3, 4), data.test, strict=True):
        made = stored(number)
        assert float(image[0, 0].mean()) * data.std[0] + data.mean[0] == pytest.approx(
            20 * number / 255, abs=1e-5
        )
        table = dict(zip((0, 7, 11, 23, 33), (255, *labels), strict=True))
        assert targets["seg"][0].tolist() == [[table[int(v)] for v in row] for row in made["seg"]]
        disparity = np.clip((made["depth"].astype(np.float64) - 1) / 256, 0, None)  # pixels
        np.testing.assert_allclose(targets["depth"][0, 0], disparity / (0.209313 * 2262.52), rtol=1e-5)
        for name, task in data.tasks.items():
            assert bool(torch.isfinite(task.loss(torch.randn(1, data.channels[name], H, W), targets[name])))
            assert task.picture is not None
            assert tuple(task.picture(targets[name][0]).shape) == (H, W, 3)
    assert list(data.tasks["depth"].metrics) == ["abs", "rel"]


def test_what_a_mac_leaves_is_no_frame(tmp_path: Path) -> None:
    for layout, make in (("official", official), ("mtan", mtan)):
        root = make(tmp_path / layout)
        before = {
            split: len(x) for split, x in cityscapes_frames(root=str(root), size=(H, W), val_count=1).items()
        }  # type: ignore[arg-type]
        for image in [*root.glob("leftImg8bit/*/*/*.png"), *root.glob("*/image/*.npy")]:
            image.with_name(f"._{image.name}").write_bytes(b"\0\5\26\7")
        after = cityscapes_frames(root=str(root), size=(H, W), val_count=1)
        assert {split: len(x) for split, x in after.items()} == before  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [7, 19])
def test_mtans_files_are_decoded_as_documented(tmp_path: Path, classes: Any) -> None:
    data = cityscapes(root=str(mtan(tmp_path)), classes=classes, **SETTINGS)
    for number, (_, targets) in zip((3, 4), data.test, strict=True):
        made = stored(number)
        assert targets["seg"][0].tolist() == np.where(made["seg"] == 0, 255, made["seg"] % classes).tolist()
        np.testing.assert_allclose(targets["depth"][0, 0], made["depth"] / 60000, rtol=1e-5)


def test_a_zoom_brings_things_nearer(tmp_path: Path) -> None:
    sample = cityscapes_frames(root=str(official(tmp_path)), size=(H, W), val_count=1)["test"][0]
    near = zoom(sample, 2.0)
    assert float(inverse(near["depth"])[0, 0, 4]) == pytest.approx(
        2 * float(inverse(sample["depth"])[0, 2, 6])
    )


def test_the_nineteen_classes_and_their_categories() -> None:
    nineteen, seven = label_ids(19), label_ids(7)
    named = {i: (CLASSES_19[nineteen[i]], CLASSES_7[seven[i]]) for i in range(256) if 0 <= nineteen[i] < 255}
    assert named == {
        7: ("road", "flat"),
        8: ("sidewalk", "flat"),
        11: ("building", "construction"),
        12: ("wall", "construction"),
        13: ("fence", "construction"),
        17: ("pole", "object"),
        19: ("traffic light", "object"),
        20: ("traffic sign", "object"),
        21: ("vegetation", "nature"),
        22: ("terrain", "nature"),
        23: ("sky", "sky"),
        24: ("person", "human"),
        25: ("rider", "human"),
        26: ("car", "vehicle"),
        27: ("truck", "vehicle"),
        28: ("bus", "vehicle"),
        31: ("train", "vehicle"),
        32: ("motorcycle", "vehicle"),
        33: ("bicycle", "vehicle"),
    }
    assert [name for name, _ in named.values()] == list(CLASSES_19)
    ignored = [i for i in (*range(34), 255) if i not in named]
    assert (nineteen[ignored] == 255).all()
    assert (nineteen[34:255] == -1).all(), "labels that Cityscapes has not"
    assert ((seven == 255) == (nineteen == 255)).all()


def test_a_copy_that_is_broken(tmp_path: Path) -> None:
    def failing(error: type[Exception], match: str, **changes: Any) -> None:
        with pytest.raises(error, match=match):
            cityscapes(root=str(tmp_path), **{**SETTINGS, **changes})

    failing(FileNotFoundError, "holds no Cityscapes: there must be leftImg8bit/")
    (tmp_path / "leftImg8bit").mkdir()
    failing(FileNotFoundError, r"train holds no \*/\*_leftImg8bit.png")
    official(tmp_path)
    failing(ValueError, "classes=13; Cityscapes", classes=13)
    failing(ValueError, "layout='npz'; choose auto or one of official, mtan", layout="npz")
    seg = tmp_path / "gtFine/val/ulm/ulm_3_gtFine_labelIds.png"
    depth = tmp_path / "disparity/val/ulm/ulm_3_disparity.png"
    for path in (seg, depth, tmp_path / "leftImg8bit/val/ulm/ulm_3_leftImg8bit.png"):
        kept = path.read_bytes()
        path.write_bytes(kept[: len(kept) // 2])
        failing(ValueError, f"{path.name} is corrupt")
        path.write_bytes(b"")
        failing(FileNotFoundError, f"1 of the 6 files .* missing or empty: .*{path.name}")
        path.write_bytes(kept)
    Image.fromarray(np.full((H, W), 34, np.uint8)).save(seg)
    failing(
        ValueError, "labelIds.png: label 34; with 7 classes labels are 7 to 33, or 0, 1, 2, ... to ignore"
    )
    Image.fromarray(np.full((H, W, 3), 7, np.uint8)).save(seg)
    failing(ValueError, "labelIds.png: shape .*one channel")
    Image.fromarray(np.full((H, W), 7, np.uint8)).save(seg)
    Image.fromarray(np.full((H, W), 7, np.uint8)).save(depth)
    failing(ValueError, "disparity.png: uint8; depth must be 16-bit")
    Image.fromarray(np.full((H, 2 * W), 7, np.uint16)).save(depth)
    failing(ValueError, "disparity.png is 32x8 pixels, but the frame's image is 16x8")
    depth.unlink()
    failing(FileNotFoundError, "1 of the 6 files .*ulm_3_disparity.png")
    assert cityscapes(root=str(tmp_path), **SETTINGS, tasks=("seg",))
    mtan(tmp_path)
    failing(ValueError, "could be official or mtan; say which by layout=")
    (tmp_path / "val/label_7/1.npy").unlink()
    failing(FileNotFoundError, "1 of the 6 files .*label_7/1.npy", layout="mtan")
