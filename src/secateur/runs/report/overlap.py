"""Where the tasks agree: the map of the shared layers, as text ready to be laid out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secateur.runs.report.formats import count, listing, percent


@dataclass(frozen=True)
class OverlapTable:
    """The section of a run that has an overlap map.

    Args:
        sentence: How far the tasks agree overall.
        tasks: Whose share of a layer is shown.
        pairs: Whose overlap is shown.
        rows: Layer, its weights, the share that each task would keep, the overlap of each pair and its width as a bar.
    """

    sentence: str
    tasks: tuple[str, ...]
    pairs: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[str, ...], tuple[tuple[str, float], ...]], ...]


def overlap_table(found: Mapping[str, Any] | None) -> OverlapTable | None:
    """The section, None for a run without a map."""
    if found is None:
        return None
    total = found["total"]
    tasks, pairs = tuple(total["wanted"]), tuple(total["overlap"])
    rows = [
        _row(name, part, tasks, pairs)
        for name, part in [*found["layers"].items(), ("all shared weights", total)]
    ]
    return OverlapTable(sentence(found), tasks, pairs, tuple(rows))


def sentence(found: Mapping[str, Any]) -> str:
    """How far each pair agrees, and how much is needed by one task alone and by all."""
    total = found["total"]
    pairs = listing(
        f"{pair.replace('+', ' and ')} {percent(_number(value))}" for pair, value in total["overlap"].items()
    )
    alone = sum(n for owners, n in total["needed_by"].items() if owners and "+" not in owners)
    every = total["needed_by"].get("+".join(total["wanted"]), 0)
    wanted = sum(n for owners, n in total["needed_by"].items() if owners) or 1
    return (
        f"Had each task to keep {percent(found['density'])} of its weights alone, of the shared weights that anyone keeps "
        f"{percent(alone / wanted)} would be kept by one task only and {percent(every / wanted)} by all. Overlap of the kept sets: "
        f"{pairs}; independent choices would overlap by {percent(found['chance'])}."
    )


def _row(
    name: str, part: Mapping[str, Any], tasks: tuple[str, ...], pairs: tuple[str, ...]
) -> tuple[str, str, tuple[str, ...], tuple[tuple[str, float], ...]]:
    wanted = tuple(percent(part["wanted"][task]) if task in part["wanted"] else "" for task in tasks)
    values = [_number(part["overlap"].get(pair)) for pair in pairs]
    bars = tuple((percent(value), 100 * value if value == value else 0.0) for value in values)
    return name.removesuffix(".weight"), count(part["weights"]), wanted, bars


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
