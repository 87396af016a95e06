"""Test pictures for the page: input, and for each task prediction, dense prediction and truth."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from secateur.runs.report.record import Picture, RunRecord

_LONGEST = 480  # pixels; more would not be seen


@dataclass(frozen=True)
class Tile:
    """One embedded picture: a ``data:`` address, its alternative text and what is written over it."""

    source: str
    alt: str
    small: bool  # drawn larger than it is, so with crisp pixels


@dataclass(frozen=True)
class Sheet:
    """One test image: the input and, per task, a tile for each column; None where there is no picture."""

    number: int
    input: Tile | None
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Tile | None, ...]], ...]


def sheets(record: RunRecord, dense: RunRecord | None) -> list[Sheet]:
    """The record's samples, beside the dense run's predictions where the two show the same inputs."""
    samples = record.samples
    beside = (
        dense.samples if dense is not None and dense is not record and _same_inputs(record, dense) else {}
    )
    numbers = sorted({int(key.rsplit("/", 1)[1]) for key in samples})
    columns = ("prediction", "dense", "truth") if beside else ("prediction", "truth")
    found: list[Sheet] = []
    for i in numbers:
        rows: list[tuple[str, tuple[Tile | None, ...]]] = []
        for task in record.tasks:
            row = {
                "prediction": _tile(
                    samples, f"{task}/prediction/{i}", f"{task}: prediction of {record.name}, image {i + 1}"
                ),
                "dense": _tile(
                    beside,
                    f"{task}/prediction/{i}",
                    f"{task}: prediction of the dense network, image {i + 1}",
                ),
                "truth": _tile(samples, f"{task}/truth/{i}", f"{task}: truth, image {i + 1}"),
            }
            if any(row.values()):
                rows.append((task, tuple(row[column] for column in columns)))
        found.append(
            Sheet(i + 1, _tile(samples, f"input/{i}", f"Input, test image {i + 1}"), columns, tuple(rows))
        )
    return found


def _same_inputs(record: RunRecord, dense: RunRecord) -> bool:
    """Whether every input both runs show is the same picture."""
    keys = [key for key in record.samples if key.startswith("input/") and key in dense.samples]
    return bool(keys) and all((record.samples[key].tobytes() == dense.samples[key].tobytes()) for key in keys)


def _tile(samples: Mapping[str, Picture], key: str, alt: str) -> Tile | None:
    if key not in samples:
        return None
    image = Image.fromarray(samples[key])
    image.thumbnail((_LONGEST, _LONGEST))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Tile(source, alt, small=image.width < 200)
