"""Folders and Parquet files as the real ``datasets`` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miniatures.hf_images import encoded

hf = pytest.importorskip("datasets", reason="datasets not installed")
pa = pytest.importorskip("pyarrow", reason="pyarrow not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow not installed")
SPLITS = {"train": list(range(1, 10)), "validation": [10, 11], "test": [12, 13]}


def features() -> Any:
    kinds = {"image": hf.Image(), "kind": hf.ClassLabel(names=["cat", "dog", "fly"])}
    return hf.Features({**kinds, "legs": hf.Value("int64"), "box": hf.Array2D((2, 2), "float32")})


def rows(numbers: list[int], **columns: Any) -> Any:
    made = {
        "image": [encoded(n, ("RGB", "L", "RGBA")[n % 3]) for n in numbers],
        "kind": [n % 3 for n in numbers],
        "legs": [None if n == 5 else n % 5 for n in numbers],
        "box": [[[n, 0.0], [1.0, 2.0]] for n in numbers],
    }
    return hf.Dataset.from_dict(made | columns, features=features())


def dict_of(splits: dict[str, list[int]] = SPLITS) -> Any:
    return hf.DatasetDict({name: rows(numbers) for name, numbers in splits.items()})


def saved(root: Path) -> None:
    dict_of().save_to_disk(str(root), num_shards={"train": 3, "validation": 1, "test": 2})


def shuffled(root: Path) -> None:
    """Rows in another order than they lie in: ``save_to_disk`` writes them as they are read."""
    hf.DatasetDict({name: data.shuffle(seed=1) for name, data in dict_of().items()}).save_to_disk(str(root))


def parquet(root: Path) -> None:
    (root / "data").mkdir(parents=True)
    for name, data in dict_of().items():
        for i in range(2):
            shard = data.shard(2, i, contiguous=True)
            shard.to_parquet(str(root / f"data/{name}-0000{i}-of-00002.parquet"), batch_size=3)
