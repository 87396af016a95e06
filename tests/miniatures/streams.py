"""The images 1, 2, 3 ... as each kind of shards, small ones, and what of them is in a batch."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from miniatures import shards
from miniatures.hf_images import LABELS, SETTINGS, parquet, saved
from secateur.data import Data, hf_images

KINDS = ["tar", "parquet", "saved"]


def streams(kind: str, root: Path, **splits: list[int]) -> Path:
    """A folder of one kind: tars of seven images, or two Parquet files, or one Arrow file a split."""
    if kind == "tar":
        pytest.importorskip("webdataset", reason="webdataset not installed")
        sevens = {s: [n[i : i + 7] for i in range(0, len(n), 7)] for s, n in splits.items()}
        return shards.shards(root, **sevens)
    pytest.importorskip("datasets", reason="datasets not installed")
    root.mkdir(parents=True, exist_ok=True)
    return {"parquet": parquet, "saved": saved}[kind](root, **splits)


def settings(kind: str, **changes: Any) -> dict[str, Any]:
    own = {"labels": shards.LABELS, "classes": shards.CLASSES} if kind == "tar" else {"labels": LABELS}
    return {**SETTINGS, "stream": True, "buffer": 6, "batch": 4, **own, **changes}


def streamed(kind: str, root: Path, **changes: Any) -> Data:
    return hf_images(root=str(root), **settings(kind, **changes))


def numbers(batches: Iterable[Any], data: Data, count: int | None = None) -> list[list[int]]:
    """Which images are in each of ``count`` batches."""
    mean, std = data.mean[0], data.std[0]  # type: ignore[index]
    return [[round(float(v[0].mean() * std + mean) * 255 / 10) for v in x] for x, _ in islice(batches, count)]


def flat(batches: Iterable[Any], data: Data, count: int | None = None) -> list[int]:
    """The images in ``count`` batches, one after the other."""
    return [number for batch in numbers(batches, data, count) for number in batch]


def last(root: Path, kind: str) -> Path:
    """The last shard of training."""
    ending = {"tar": "*train*.tar", "parquet": "*/train*.parquet", "saved": "train/*.arrow"}[kind]
    return sorted(root.glob(ending))[-1]
