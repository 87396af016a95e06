"""Pictures that are told by their mean, and not of one colour."""

from __future__ import annotations

import numpy as np


def coloured(mean: int, height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8 grey, the left half a little darker than the right."""
    made = np.full((height, width, 3), mean, np.int64)
    made[:, : width // 2] -= 2
    made[:, width // 2 :] += 2
    return made.clip(0, 255).astype(np.uint8)
