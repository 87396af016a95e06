"""Ten made-up faces of CelebAMask-HQ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from miniatures.colours import coloured

NAMES = ("Bald", "Male", "Smiling")
SETTINGS: dict[str, Any] = {"size": (8, 8), "batch": 1, "augment": False}
BALD = 3


def attributes(number: int) -> list[int]:
    return [int(number == BALD), number % 2, number // 2 % 2]


def written(root: Path, faces: int = 10) -> Path:
    """Faces of 16x16 pixels with masks of 8x8: skin in the middle, hair above and over its first row."""
    lines = [str(faces), " ".join(NAMES)]
    (root / "CelebA-HQ-img").mkdir()
    (root / "CelebAMask-HQ-mask-anno/0").mkdir(parents=True)
    for number in range(faces):
        Image.fromarray(coloured(20 * number, 16, 16)).save(root / f"CelebA-HQ-img/{number}.jpg")
        for part, (top, bottom) in {"skin": (2, 6), "hair": (0, 3), "nose": (4, 5)}.items():
            if part == "hair" and number == BALD:
                continue
            mask = np.zeros((8, 8, 3), np.uint8)
            mask[top:bottom] = 255
            Image.fromarray(mask).save(root / f"CelebAMask-HQ-mask-anno/0/{number:05d}_{part}.png")
        values = "  ".join("1" if yes else "-1" for yes in attributes(number))
        lines.append(f"{number}.jpg  {values}")
    (root / "CelebAMask-HQ-attribute-anno.txt").write_text("\n".join(lines) + "\n")
    return root
