"""Six made-up clips with captions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def written(root: Path, **changed) -> Path:
    (root / "features").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number in range(6):
        np.save(
            root / "features" / f"clip{number}.npy", draw.standard_normal((4 + number, 8)).astype(np.float16)
        )
    said = ["The girl peels onions.", "A boy peels carrots", "the girl peels beans", "the boy cuts onions"]
    entry = [{"clip": f"clip{n}", "caption": said[n % 4]} for n in range(6)]
    found = {"train": entry[:4], "val": entry[4:5], "test": entry[5:], **changed}
    (root / "captions.json").write_text(json.dumps(found))
    return root
