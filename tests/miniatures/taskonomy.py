"""Five made-up frames of Tiny-Taskonomy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from miniatures.colours import coloured

H, W = 12, 16
SETTINGS: dict[str, Any] = {"size": (H, W), "batch": 1, "val_count": 1, "augment": False}
FOLDERS = ("rgb", "segmentsemantic", "normal", "depth_zbuffer", "keypoints2d", "edge_texture")


def stored(number: int) -> dict[str, np.ndarray]:
    """What lies in the files of one made-up frame."""
    rng = np.random.default_rng(number)
    normal = rng.normal(size=(H, W, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    depth = rng.integers(300, 5000, (H, W))
    depth[0, :3] = (64499, 64500, 65535)
    return {
        "rgb": coloured(20 * number, H, W),
        "segmentsemantic": rng.integers(0, 18, (H, W)).astype(np.uint8),
        "normal": np.rint((normal + 1) * 127.5).astype(np.uint8),
        "depth_zbuffer": depth.astype(np.uint16),
        "keypoints2d": rng.integers(0, 700, (H, W)).astype(np.uint16),
        "edge_texture": rng.integers(0, 9000, (H, W)).astype(np.uint16),
    }


def written(root: Path, reordered: bool = False) -> Path:
    lists: dict[str, list[list[str]]] = {"train": [], "test": []}
    for number in range(1, 6):
        row: list[str] = []
        for task in FOLDERS:
            building, name = f"house{number % 2}", f"point_{number}_view_0_domain_{task}.png"
            row.append(f"{building}/{task}/{name}")
            path = root / (f"{task}/taskonomy/{building}/{name}" if reordered else row[-1])
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(stored(number)[task]).save(path)
        lists["train" if number < 4 else "test"].append(row)
    (root / "taskonomy.json").write_text(json.dumps(lists))
    np.save(root / "semseg_prior_factor.npy", np.ones(17))
    return root
