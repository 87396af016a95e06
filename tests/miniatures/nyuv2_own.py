"""Our own layouts of NYU-v2: a folder of pictures, and one archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from miniatures.colours import coloured

SPLITS = {"train": 6, "test": 3}


def frame(number: int) -> dict[str, np.ndarray]:
    """The arrays of one made-up frame, 16x12."""
    rng = np.random.default_rng(number)
    normal = rng.normal(size=(12, 16, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return {
        "rgb": coloured(20 * number, 12, 16),
        "seg13": rng.choice([0, 5, 12, 255], (12, 16)).astype(np.uint8),
        "seg40": rng.choice([0, 20, 39, 255], (12, 16)).astype(np.uint8),
        "normal": np.rint(normal * 127.5 + 127.5).astype(np.uint8),
        "normal_i8": np.rint(normal * 127).astype(np.int8),
        "depth": rng.integers(740, 9960, (12, 16)).astype(np.uint16),
    }


def write_folder(root: Path) -> Path:
    number = 0
    for split, frames in SPLITS.items():
        names: list[str] = []
        for _ in range(frames):
            number += 1
            names.append(f"{number:04d}")
            for kind in ("rgb", "seg13", "seg40", "normal", "depth"):
                path = root / split / kind / f"{names[-1]}.{'jpg' if kind == 'rgb' else 'png'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(frame(number)[kind]).save(path, quality=95)
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


def write_archive(root: Path) -> Path:
    arrays: dict[str, np.ndarray] = {}
    for split, numbers in (("train", range(1, 7)), ("test", range(7, 10))):
        for kind, name in (
            ("rgb", "rgb"),
            ("seg13", "seg13"),
            ("normal_i8", "normal_i8"),
            ("depth", "depth_mm"),
        ):
            arrays[f"{split}_{name}"] = np.stack([frame(n)[kind] for n in numbers])
    path = root / "frames.npz"
    root.mkdir(exist_ok=True)
    np.savez(path, **arrays)
    return path
