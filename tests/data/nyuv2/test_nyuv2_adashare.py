"""NYU-v2 in AdaShare's layout, and its normals as the published code has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from miniatures.nyuv2 import SETTINGS, SPLITS, H, W, adashare, failing, save
from secateur.data.nyuv2 import nyuv2
from secateur.data.nyuv2.nyuv2 import nyuv2_frames, raw_normals


def test_frames_are_cheap_and_name_their_own_errors(tmp_path: Path) -> None:
    adashare(tmp_path)
    for path in tmp_path.glob("seg/*.png"):
        path.unlink()
    splits = nyuv2_frames(root=str(tmp_path), size=(H, W), val_count=1, classes=40)
    assert {name: len(part) for name, part in splits.items()} == {"train": 2, "val": 1, "test": 2}  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=r"seg/4\.png is missing or empty"):
        splits["test"][0]


def test_raw_normals_are_those_of_the_published_code(tmp_path: Path) -> None:
    adashare(tmp_path)
    raw = nyuv2(root=str(tmp_path), **SETTINGS, classes=40, tasks=("normal",), normals="raw_uint8")
    for n, (_, targets) in zip(SPLITS["test"], raw.test, strict=True):
        stored = np.asarray(Image.open(tmp_path / f"normal_mask/{n}.png")).astype(np.float32)
        published = stored / np.linalg.norm(stored, axis=-1, keepdims=True)
        found = targets["normal"][0].permute(1, 2, 0).numpy()
        cosine = (found * published).sum(-1)
        assert not found[0, 0].any()
        assert np.sort(cosine.flatten())[1:].min() > np.cos(np.radians(0.6))
    with pytest.raises(ValueError, match="normals is 'bytes'; choose one of 'decoded', 'raw_uint8'"):
        nyuv2(root=str(tmp_path), normals="bytes")  # type: ignore[arg-type]
    n = torch.nn.functional.normalize(torch.randn(1, 3, 4, 4), dim=1)
    torch.testing.assert_close(raw_normals(n).norm(dim=1), torch.ones(1, 4, 4))


def test_the_cache_changes_no_value(tmp_path: Path) -> None:
    settings = {**SETTINGS, **adashare(tmp_path), "augment": True}
    kept, decoded = (nyuv2(root=str(tmp_path), cache=cache, **settings) for cache in (1.0, 0.0))
    for (a, s), (b, t) in zip(kept.train, decoded.train, strict=True):
        assert torch.equal(a, b)  # type: ignore[arg-type]
        assert all(torch.equal(s[task], t[task]) for task in s)
    with pytest.raises(ValueError, match="cache=-1"):
        nyuv2(root=str(tmp_path), cache=-1, **settings)


def test_an_adashare_copy_that_is_broken(tmp_path: Path) -> None:
    settings = adashare(tmp_path)
    source = tmp_path / "nyu_v2_3task.json"
    good = json.loads(source.read_text())
    listed = {**good, "test": [*good["test"], ["img/9.png", "seg/9.png", "normal_mask/9.png", "depth/9.npy"]]}
    source.write_text(json.dumps(listed))
    failing(
        tmp_path, settings, FileNotFoundError, "4 of the 12 files that .*json.*img/9.png.*Copy the folder"
    )
    source.write_text(json.dumps({**good, "test": [["img/4.png", "seg/4.png"]]}))
    failing(tmp_path, settings, ValueError, "json: 'test' must list at least one frame, each of 4 paths")
    source.write_text(json.dumps({"train": good["train"]}))
    failing(tmp_path, settings, ValueError, "json: 'test' must list")
    source.write_text('{"train": [')
    failing(tmp_path, settings, ValueError, "json cannot be read as JSON .*copy it again")
    source.write_text(json.dumps(good))
    save(tmp_path / "seg/4.png", np.full((H, W), 40, np.uint8))
    failing(tmp_path, settings, ValueError, "4.png: label 40; with 40 classes labels are 0 to 39, or 255")
    save(tmp_path / "seg/4.png", np.zeros((H, W, 3), np.uint8))
    failing(tmp_path, settings, ValueError, "seg/4.png: shape .*one channel")
    save(tmp_path / "seg/4.png", np.zeros((H, W + 1), np.uint8))
    failing(tmp_path, settings, ValueError, "seg/4.png is 17x12 pixels, but the frame's image is 16x12")
    save(tmp_path / "seg/4.png", np.zeros((H, W), np.uint8))
    save(tmp_path / "depth/4.npy", np.full((H, W), -1.0, np.float32))
    failing(tmp_path, settings, ValueError, "4.npy: depth is negative or not finite")
    save(tmp_path / "depth/4.npy", np.ones((H, W), np.int32))
    failing(tmp_path, settings, ValueError, "4.npy: int32; depth must be floats, metres")
    path = save(tmp_path / "depth/4.npy", np.ones((H, W), np.float32))
    path.write_bytes(path.read_bytes()[:200])
    failing(tmp_path, settings, ValueError, "4.npy is corrupt")
