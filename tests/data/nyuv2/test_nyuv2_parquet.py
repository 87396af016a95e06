"""NYU-v2 in the Parquet files of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miniatures.nyuv2 import H, W, failing, parquet


def test_a_parquet_copy_that_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = parquet(tmp_path)
    pa, pq = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    path = tmp_path / "data/val-00000-of-00001.parquet"
    table, kept = pq.read_table(path), path.read_bytes()

    def with_column(name: str, column: Any) -> None:
        pq.write_table(table.set_column(table.schema.names.index(name), name, column), path)

    pq.write_table(table.drop_columns(["normal"]), path)
    failing(
        tmp_path, settings, ValueError, r"val-0.*parquet lacks the columns \['normal'\]; it has \['image'"
    )
    with_column("segmentation", pa.array([[[13] * W] * H] * 2))
    failing(tmp_path, settings, ValueError, "parquet, row 0, segmentation: label 13; with 13 classes")
    with_column("segmentation", pa.array([[[1] * W] * (H - 1)] * 2))
    failing(tmp_path, settings, ValueError, "row 0: segmentation is 16x11 pixels, but the image is 16x12")
    with_column("segmentation", pa.array([[[1] * W, [1]]] * 2))
    failing(tmp_path, settings, ValueError, "parquet is corrupt at row 0 .its lists are of different lengths")
    with_column("depth", pa.array([[[1.0] * W] * H] * 2))
    failing(tmp_path, settings, ValueError, "depth: shape .12, 16.; it must be .channels, height, width.")
    with_column("depth", pa.array([1.0, 2.0]))
    failing(tmp_path, settings, ValueError, r"row 0, depth: .*1.0.* no array")
    path.write_bytes(kept[: len(kept) // 2])
    failing(tmp_path, settings, ValueError, "val-0.*parquet is corrupt")
    path.write_bytes(b"")
    failing(tmp_path, settings, FileNotFoundError, "val-0.*parquet is missing or empty")
    path.unlink()
    failing(tmp_path, settings, FileNotFoundError, "no split validation or test, only train")
    path.write_bytes(kept)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    failing(tmp_path, settings, ImportError, r"pip install 'secateur\[parquet\]'")
