"""The rows of a training's history as lines of a file, in which the names of layers stand once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

_DIGITS = 6  # of a value by layer; more than a picture shows

Row = dict[str, Any]
ByLayer = dict[str, float | None]


def row_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows of a history, of finite values, as JSON, a line each.

    What there is for each layer (``density.layers``, ``threshold``) is rounded to six digits. Where the layers are those of the
    row before, it is a list of their values in the same order, and null where all are as they were.
    """
    layers, thresholds = _Shortening(), _Shortening()
    made: list[str] = []
    for row in rows:
        written = dict(row)
        if "density" in written:
            written["density"] = {**written["density"], "layers": layers(written["density"]["layers"])}
        if "threshold" in written:
            written["threshold"] = thresholds(written["threshold"])
        made.append(json.dumps(written) + "\n")
    return "".join(made)


class RowReader:
    """Takes rows in the order of their file, and gives them as :func:`row_lines` was given them.

    Rows that name every layer, as older files have them, stay as they are.
    """

    def __init__(self) -> None:
        self._layers: ByLayer = {}
        self._thresholds: ByLayer = {}

    def __call__(self, row: Mapping[str, Any]) -> Row:
        """One row.

        Raises:
            ValueError: If it has values for more or fewer layers than the row before.
        """
        found = dict(row)
        if isinstance(density := found.get("density"), Mapping) and "layers" in density:
            known = cast("Mapping[str, Any]", density)
            self._layers = _named(known["layers"], self._layers)
            found["density"] = {**known, "layers": self._layers}
        if "threshold" in found:
            found["threshold"] = self._thresholds = _named(found["threshold"], self._thresholds)
        return found


class _Shortening:
    def __init__(self) -> None:
        self._before: ByLayer | None = None

    def __call__(self, values: Mapping[str, float | None]) -> ByLayer | list[float | None] | None:
        now = {name: None if v is None else float(f"{v:.{_DIGITS}g}") for name, v in values.items()}
        before, self._before = self._before, now
        if before is None or list(before) != list(now):
            return now
        return None if now == before else list(now.values())


def _named(values: Any, before: ByLayer) -> ByLayer:
    if values is None:
        return before
    return dict(zip(before, values, strict=True)) if isinstance(values, list) else values
