"""A miniature data set of two visual domains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "elephant")
COUNT = 10  # a class


def picture(seed: int, size: tuple[int, int] = (20, 16)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


def folders(root: Path, splits: tuple[str, ...] = ("",)) -> Path:
    seed = 0
    for domain in ("photo", "sketch"):
        for split in splits:
            for name in CLASSES:
                folder = root / domain / split / name
                folder.mkdir(parents=True)
                for i in range(COUNT):
                    picture(seed := seed + 1, (20 + i, 16)).save(folder / f"{i}.png")
    return root
