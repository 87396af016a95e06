from __future__ import annotations

import functools
import json
import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from miniatures.celebamask import BALD, SETTINGS, attributes, written
from secateur.data.celebamask.celebamask import celebamask, celebamask_frames


def numbers(batches: Any, data: Any) -> list[int]:
    return [round((float(x[0, 0].mean()) * data.std[0] + data.mean[0]) * 255 / 20) for x, _ in batches]


def test_masks_and_attributes_are_those_of_the_files(tmp_path: Path) -> None:
    data = celebamask(root=str(written(tmp_path)), **SETTINGS)
    assert data.channels == {"seg": 3, "Male": 1, "Smiling": 1}
    assert data.classes == {"seg": ("background", "hair", "skin")}
    parts = {name: numbers(getattr(data, name), data) for name in ("train", "val", "test")}
    assert [len(part) for part in parts.values()] == [6, 2, 2]
    assert sorted(functools.reduce(operator.iadd, parts.values(), [])) == list(range(10))
    for name, found in parts.items():
        for number, (_, targets) in zip(found, getattr(data, name), strict=True):
            rows = [1, 1, 1, 2, 2, 2, 0, 0] if number != BALD else [0, 0, 2, 2, 2, 2, 0, 0]
            assert targets["seg"][0].tolist() == [[row] * 8 for row in rows]
            assert [int(targets["Male"]), int(targets["Smiling"])] == attributes(number)[1:]
    _image, targets = next(iter(data.train))
    for name, task in data.tasks.items():
        shape = (1, 3, 8, 8) if name == "seg" else (1, 1)
        prediction = torch.randn(shape)
        assert bool(torch.isfinite(task.loss(prediction, targets[name])))
        for metric in task.metrics.values():
            metric.update(prediction, targets[name])


def test_splits_follow_the_seed_or_a_file(tmp_path: Path) -> None:
    root = str(written(tmp_path))
    drawn = {
        tuple(celebamask_frames(root=root, seed=seed)["train"].numbers)  # type: ignore[attr-defined]
        for seed in (0, 0, 1, 2)
    }
    assert len(drawn) == 3
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": [9, 1, 2], "val": [3], "test": [5, 4]}))
    data = celebamask(root=root, split=str(split), **SETTINGS)
    assert (numbers(data.val, data), numbers(data.test, data)) == ([3], [5, 4])
    split.write_text(json.dumps({"train": [9, 1], "val": [3], "test": [10]}))
    with pytest.raises(ValueError, match=r"split.json: 'test' must list numbers of faces, 0 to 9"):
        celebamask(root=root, split=str(split), **SETTINGS)
    split.write_text(json.dumps({"train": [9, 1], "val": [3], "test": [1]}))
    with pytest.raises(ValueError, match=r"split.json lists a face twice"):
        celebamask(root=root, split=str(split), **SETTINGS)
    split.write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"split.json: 'train' must list"):
        celebamask(root=root, split=str(split), **SETTINGS)


def test_merged_masks_are_taken_where_they_are(tmp_path: Path) -> None:
    root = written(tmp_path)
    (root / "CelebA-HQ-segmask").mkdir()
    for number in range(10):
        np.save(root / f"CelebA-HQ-segmask/{number:05d}_mask.npy", np.full((16, 16), number % 3, np.uint8))
    data = celebamask(root=str(root), tasks=("seg",), **SETTINGS)
    for number, (_, targets) in zip(numbers(data.test, data), data.test, strict=True):
        assert targets["seg"].unique().tolist() == [number % 3]
    for number in range(10):
        np.save(root / f"CelebA-HQ-segmask/{number:05d}_mask.npy", np.full((16, 16), 3, np.uint8))
    with pytest.raises(ValueError, match=r"mask.npy: label 3; with 3 classes labels are 0 to 2"):
        celebamask(root=str(root), tasks=("seg",), **SETTINGS)


def test_a_copy_that_is_broken(tmp_path: Path) -> None:
    def failing(error: type[Exception], match: str, **changes: Any) -> None:
        with pytest.raises(error, match=match):
            celebamask(root=str(tmp_path), **{**SETTINGS, **changes})

    failing(FileNotFoundError, "attribute-anno.txt is missing; root must be the folder CelebAMask-HQ")
    written(tmp_path)
    failing(ValueError, "tasks=.*'Happy'.*'seg', 'Bald', 'Male', 'Smiling'", tasks=("Happy",))
    image, skin = tmp_path / "CelebA-HQ-img/4.jpg", tmp_path / "CelebAMask-HQ-mask-anno/0/00004_skin.png"
    hair = skin.with_name("00004_hair.png")
    for path in (image, skin, hair):
        kept = path.read_bytes()
        path.write_bytes(kept[: len(kept) // 2])
        failing(ValueError, f"{path.name} is corrupt")
        path.write_bytes(kept)
    kept = skin.read_bytes()
    skin.unlink()
    failing(FileNotFoundError, "1 of the .* files .*00004_skin.png")
    assert celebamask(root=str(tmp_path), **SETTINGS, tasks=("Male",))
    skin.write_bytes(kept)
    Image.fromarray(np.zeros((4, 8), np.uint8)).save(hair)
    failing(ValueError, "00004_hair.png is 8x4 pixels, but the mask of skin is 8x8")
    for path in (skin, hair):
        Image.fromarray(np.zeros((4, 8), np.uint8)).save(path)
    failing(ValueError, "00004_skin.png is 8x4 pixels, but the image is 16x16, of another shape")
    skin.write_bytes(kept)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(hair)
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(image)
    failing(ValueError, r"4.jpg: shape .16, 16.; image must be 8-bit RGB")
    hairs = {path: path.read_bytes() for path in tmp_path.rglob("*_hair.png")}
    for path in hairs:
        path.unlink()
    failing(FileNotFoundError, "not one of the 10 faces has a mask of hair, .*_hair.png .* leave seg out")
    assert celebamask_frames(root=str(tmp_path), tasks=("Male",))
    for path, content in hairs.items():
        path.write_bytes(content)
    source = tmp_path / "CelebAMask-HQ-attribute-anno.txt"
    text = source.read_text()
    source.write_text(text.replace("4.jpg  -1", "4.jpg  0"))
    failing(ValueError, "anno.txt, line 7: it must be a number, .jpg and 3 times 1 or -1")
    source.write_text(text.replace("9.jpg", "9.png"))
    failing(ValueError, "anno.txt, line 12")
    source.write_text("\n".join(text.splitlines()[:-2]))
    failing(ValueError, "says that it has 10 faces, but has 8; copy it again")
    source.write_text("")
    failing(ValueError, "says that it has no faces")
    source.write_bytes(b"\xff\xfe")
    failing(ValueError, "anno.txt is no UTF-8 text")
