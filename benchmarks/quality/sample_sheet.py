"""One picture of test images: input, then truth, dense and pruned prediction for every task.

python benchmarks/quality/sample_sheet.py runs/nyuv2_small/dense-0 runs/nyuv2_small/adapmtl-0 docs/results/samples.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

COUNT, SCALE, GAP = 4, 2, 4


def main(dense: Path, pruned: Path, out: Path) -> None:
    """Rows are images; columns are input and, for each task, truth, dense, pruned."""
    left, right = np.load(dense / "samples.npz"), np.load(pruned / "samples.npz")
    tasks = list(dict.fromkeys(name.split("/")[0] for name in left.files if name.count("/") == 2))
    rows = []
    for i in range(COUNT):
        cells = [left[f"input/{i}"]]
        for task in tasks:
            cells += [
                left[f"{task}/truth/{i}"],
                left[f"{task}/prediction/{i}"],
                right[f"{task}/prediction/{i}"],
            ]
        gap = np.full((cells[0].shape[0], GAP, 3), 255, np.uint8)
        rows.append(np.concatenate([part for cell in cells for part in (cell, gap)][:-1], axis=1))
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    sheet = np.concatenate([part for row in rows for part in (row, gap)][:-1])
    image = Image.fromarray(sheet).resize(
        (sheet.shape[1] * SCALE, sheet.shape[0] * SCALE), Image.Resampling.NEAREST
    )
    image.save(out, optimize=True)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
