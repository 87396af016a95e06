"""Images with two labels each, in Parquet files or as ``datasets`` saves them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from miniatures.colours import coloured

LABELS = {"kind": "kind", "count": "legs"}
SETTINGS: dict[str, Any] = {"size": (8, 8), "batch": 1, "augment": False, "labels": LABELS}
FEATURES = {
    "image": {"_type": "Image"},
    "kind": {"names": ["cat", "dog", "fly"], "_type": "ClassLabel"},
    "legs": {"dtype": "int64", "_type": "Value"},
}


def encoded(number: int, mode: str = "RGB") -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(coloured(10 * number, 6 + number % 3, 9)).convert(mode).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": f"{number}.png"}


def table(numbers: list[int], **columns: Any) -> Any:
    pa = pytest.importorskip("pyarrow", reason="pyarrow not installed")
    made = {
        "image": [encoded(n, ("RGB", "L", "RGBA")[n % 3]) for n in numbers],
        "kind": [n % 3 for n in numbers],
        "legs": [None if n == 5 else n % 5 for n in numbers],
    } | columns
    about = json.dumps({"info": {"features": FEATURES}})
    return pa.table(made).replace_schema_metadata({"huggingface": about})


def parquet(root: Path, **splits: list[int]) -> Path:
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow not installed")
    (root / "data").mkdir(exist_ok=True)
    for split, numbers in splits.items():
        half = len(numbers) // 2
        for i, part in enumerate((numbers[:half], numbers[half:])):
            path = root / "data" / f"{split}-0000{i}-of-00002.parquet"
            pq.write_table(table(part), path, row_group_size=2)
    return root


def saved(root: Path, metadata: bool = True, **splits: list[int]) -> Path:
    """As ``DatasetDict.save_to_disk`` writes it."""
    ipc = pytest.importorskip("pyarrow.ipc", reason="pyarrow not installed")
    (root / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    for split, numbers in splits.items():
        folder = root / split
        folder.mkdir()
        content = table(numbers) if metadata else table(numbers).replace_schema_metadata(None)
        with ipc.new_stream(folder / "data-00000-of-00001.arrow", content.schema) as writer:
            for batch in content.to_batches(max_chunksize=2):
                writer.write_batch(batch)
        (folder / "state.json").write_text(
            json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
        )
        (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return root
