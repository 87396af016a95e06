"""A history comes back as it was, and the names of layers are written once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from secateur.storage import RowReader, row_lines

NAMES = [f"backbone.layer{n}.conv.weight" for n in range(60)]


def row(step: int, kept: float, names: list[str] = NAMES) -> dict[str, Any]:
    layers = {name: kept / (place + 1) for place, name in enumerate(names)}
    density = {"overall": kept / 3, "components": {"backbone": kept / 3}, "layers": layers}
    return {"step": step, "loss": {"seg": 1 / 3}, "density": density, "threshold": dict.fromkeys(names, kept)}


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    if "val" in row:
        return row
    layers = {name: float(f"{value:.6g}") for name, value in row["density"]["layers"].items()}
    return {**row, "density": {**row["density"], "layers": layers}}


def test_rows_come_back_and_names_stand_once() -> None:
    rows: list[dict[str, Any]] = [row(1, 0.9), row(2, 0.7), {"step": 2, "val": {"seg": {"miou": 0.5}}}]
    rows += [row(3, 0.7), row(4, 0.5, NAMES[1:]), row(5, 0.4, NAMES[1:])]
    rows[5]["threshold"][NAMES[3]] = None
    text = row_lines(rows)
    assert text.count(NAMES[7]) == 4  # density and threshold, of both sets of layers
    lines = text.splitlines()
    assert len(lines[1]) < len(lines[0]) / 3
    assert len(lines[3]) < 200
    reader = RowReader()
    assert [reader(json.loads(line)) for line in lines] == list(map(rounded, rows))


def test_older_files_name_every_layer_and_are_read() -> None:
    reader = RowReader()
    assert [reader(r) for r in (row(1, 0.9), row(2, 0.7))] == [row(1, 0.9), row(2, 0.7)]


def test_a_list_of_other_length_is_no_row() -> None:
    reader = RowReader()
    reader(row(1, 0.9))
    with pytest.raises(ValueError, match="argument"):
        reader({"step": 2, "density": {"layers": [1.0]}})
