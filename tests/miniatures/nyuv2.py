"""The layouts of NYU-v2 that others use: the same five made-up frames in each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miniatures.colours import coloured
from secateur.data.nyuv2 import nyuv2

H, W = 12, 16
SETTINGS: dict[str, Any] = {"size": (H, W), "batch": 1, "val_count": 1, "augment": False}
SPLITS = {"train": [1, 2, 3], "test": [4, 5]}
Make = Callable[[Path], dict[str, Any]]
"""Writes a copy into a folder; the settings that it needs."""


def frame(number: int, classes: int) -> dict[str, np.ndarray]:
    """Decoded arrays: image (H, W, 3) in [0, 1], labels with 255 ignored, unit normals with one zero, metres with one 0."""
    rng = np.random.default_rng(number)
    normal = rng.normal(size=(H, W, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    normal[0, 0] = 0
    depth = rng.uniform(0.7, 9.9, (H, W)).astype(np.float32)
    depth[1, 1] = 0
    return {
        "image": coloured(20 * number, H, W) / np.float32(255),
        "seg": rng.choice([0, 5, classes - 1, 255], (H, W)),
        "normal": normal.astype(np.float32),
        "depth": depth,
    }


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path, quality=95)
    return path


def bytes_of(image: np.ndarray) -> np.ndarray:
    return np.rint(image * 255).astype(np.uint8)


def adashare(root: Path) -> dict[str, Any]:
    lists: dict[str, list[list[str]]] = {}
    for split, frames in SPLITS.items():
        for n in frames:
            made = frame(n, 40)
            encoded = np.rint(made["normal"] * 127 + 127.5).astype(np.uint8)
            encoded[0, 0] = 255
            row = [f"img/{n}.png", f"seg/{n}.png", f"normal_mask/{n}.png", f"depth/{n}.npy"]
            arrays = (bytes_of(made["image"]), made["seg"].astype(np.uint8), encoded, made["depth"])
            for name, array in zip(row, arrays, strict=True):
                save(root / name, array)
            lists.setdefault(split, []).append(row)
    (root / "nyu_v2_3task.json").write_text(json.dumps({**lists, "train1": [], "train2": []}))
    return {"classes": 40}


def mtan(root: Path) -> dict[str, Any]:
    for split, frames in (("train", SPLITS["train"]), ("val", SPLITS["test"])):
        for i, n in enumerate(frames):
            made = frame(n, 13)
            label = np.where(made["seg"] == 255, -1, made["seg"]).astype(np.float64)
            for kind, array in (
                ("image", made["image"]),
                ("label", label),
                ("normal", made["normal"]),
                ("depth", made["depth"][..., None]),
            ):
                save(root / split / kind / f"{i}.npy", array)
    return {"classes": 13}


def parquet(root: Path) -> dict[str, Any]:
    pa = pytest.importorskip("pyarrow", reason="pyarrow not installed")
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow not installed")
    for split, frames in (("train", SPLITS["train"]), ("val", SPLITS["test"])):
        made = [frame(n, 13) for n in frames]
        columns = {
            "image": pa.array([m["image"].transpose(2, 0, 1).tolist() for m in made], nested(pa, 3)),
            "segmentation": pa.array(
                [np.where(m["seg"] == 255, -1, m["seg"]).tolist() for m in made], nested(pa, 2, pa.int64())
            ),
            "depth": pa.array([m["depth"][None].tolist() for m in made], nested(pa, 3)),
            "normal": pa.array([m["normal"].transpose(2, 0, 1).tolist() for m in made], nested(pa, 3)),
        }
        (root / "data").mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), root / "data" / f"{split}-00000-of-00001.parquet", row_group_size=2)
    return {"classes": 13}


def nested(pa: Any, depth: int, kind: Any = None) -> Any:
    kind = kind or pa.float32()
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


def less_is_more(root: Path) -> dict[str, Any]:
    for split, frames in (("train", [1, 2]), ("val", [3]), ("test", SPLITS["test"])):
        for n in frames:
            made = frame(n, 40)
            label = np.where(made["seg"] == 255, 0, made["seg"] + 1).astype(np.uint8)
            save(root / f"images/{n}.jpg", bytes_of(made["image"]))
            save(root / f"segmentation/{n}.png", label)
            save(root / f"depth/{n}.npy", made["depth"])
            save(root / f"normals/{n}.npy", made["normal"])
        (root / "gt_sets").mkdir(exist_ok=True)
        (root / "gt_sets" / f"{split}.txt").write_text("\n".join(map(str, frames)))
    return {"classes": 40}


LAYOUTS: list[Make] = [adashare, mtan, parquet, less_is_more]


def failing(root: Path, settings: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        nyuv2(root=str(root), **{**SETTINGS, **settings})
