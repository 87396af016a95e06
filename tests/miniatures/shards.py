"""The same images as those of ``hf_images``, in shards of WebDataset as its own writer makes them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from miniatures.hf_images import encoded
from miniatures.taskonomy import FOLDERS, stored


def written(path: Path, samples: Sequence[Mapping[str, bytes]], first: int = 0) -> Path:
    """A tar with a sample of these endings and contents each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key, sample in enumerate(samples, first):
            for ending, content in sample.items():
                member = tarfile.TarInfo(f"{key:06d}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def sample(number: int) -> dict[str, bytes]:
    """An image with its number in its colour, and labels as text and as JSON."""
    about = {"legs": None if number == 5 else number % 5}
    return {
        "png": encoded(number)["bytes"],
        "cls": str(number % 3).encode(),
        "json": json.dumps(about).encode(),
    }


LABELS = {"kind": "cls", "count": "json.legs"}
CLASSES = {"kind": 3, "count": 5}


def shards(root: Path, **splits: Sequence[Sequence[int]]) -> Path:
    """A folder with shards of these numbers for each split."""
    for split, parts in splits.items():
        for i, part in enumerate(parts):
            written(root / f"set-{split}-{i:04d}.tar", [sample(n) for n in part])
    return root


def frames(root: Path) -> Path:
    """The five frames of Tiny-Taskonomy: three to train on in two shards, two to test on."""
    made = [{f"{task}.png": _png(x) for task, x in stored(n).items()} for n in range(1, 6)]
    assert set(made[0]) == {f"{task}.png" for task in FOLDERS}
    written(root / "train-0.tar", made[:2])
    written(root / "train-1.tar", made[2:3])
    written(root / "test-0.tar", made[3:])
    np.save(root / "semseg_prior_factor.npy", np.ones(17))
    return root


def _png(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(array).save(content, "PNG")
    return content.getvalue()
