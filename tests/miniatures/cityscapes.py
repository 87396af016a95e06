"""Five made-up frames of Cityscapes, as downloaded and in the layout of MTAN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from miniatures.colours import coloured

H, W = 8, 16
SETTINGS: dict[str, Any] = {"size": (H, W), "batch": 1, "val_count": 1, "augment": False}
FRAMES = {"train": ["aachen_0", "aachen_1", "bonn_2"], "val": ["ulm_3", "ulm_4"]}


def stored(number: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    disparity = rng.integers(2, 30000, (H, W))
    disparity[0, :2] = (0, 1)
    return {
        "image": coloured(20 * number, H, W),
        "seg": rng.choice([0, 7, 11, 23, 33], (H, W)).astype(np.uint8),
        "depth": disparity.astype(np.uint16),
    }


def official(root: Path) -> Path:
    for split, frames in FRAMES.items():
        for name in frames:
            city, number = name.split("_")
            for field, kind, ending in (
                ("image", "leftImg8bit", "leftImg8bit"),
                ("seg", "gtFine", "gtFine_labelIds"),
                ("depth", "disparity", "disparity"),
            ):
                path = root / kind / split / city / f"{name}_{ending}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(stored(int(number))[field]).save(path)
    return root


def mtan(root: Path) -> Path:
    for split, frames in FRAMES.items():
        for i, name in enumerate(frames):
            made = stored(int(name.split("_")[1]))
            arrays = {
                "image": made["image"] / 255,
                "label_7": np.where(made["seg"] == 0, -1, made["seg"] % 7).astype(np.float32),
                "label_19": np.where(made["seg"] == 0, -1, made["seg"] % 19).astype(np.float32),
                "depth": (made["depth"] / 60000).astype(np.float32)[..., None],
            }
            for kind, array in arrays.items():
                path = root / split / kind / f"{i}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array)
    return root
