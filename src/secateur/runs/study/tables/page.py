"""The comparison as one page: the tables, what is drawn, where the runs are and what each was set to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from secateur.measures import stat
from secateur.runs.config import telling
from secateur.runs.folder import RunFolder
from secateur.runs.report import listing, points, settings_unlike, template
from secateur.runs.study.results import Arm, Results, whole
from secateur.runs.study.tables.columns import DELTA, STEPS, Column, panels
from secateur.runs.study.tables.labels import label
from secateur.runs.study.tables.notes import note
from secateur.runs.study.tables.table import text

_HERE = Path(__file__).parent
_WIDEST = 8  # columns of figures beside the names, on a page of 1080 pixels
Picture = tuple[str, str, str]


def page(results: Results, command: str, pictures: Sequence[Picture] = (), out: Path | None = None) -> str:
    """A self-contained HTML page: tables that sort by any column, pictures, and what each run was set to.

    Args:
        results: What is finished.
        command: For the record.
        pictures: Title, inline SVG and a note each.
        out: Folder that the page goes to, so that it leads to the runs; no links if None.
    """
    parts = [
        (_numbered(part), _rows(results, [c for _, own in part for c in own], out))
        for part in panels(results.columns, _WIDEST)
    ]
    return template(_HERE / "page.html.j2").render(
        style=Markup((_HERE.parents[1] / "report" / "style.css").read_text(encoding="utf-8")),
        headline=headline(results),
        parts=parts,
        note=note(results),
        pictures=[(title, Markup(svg), said) for title, svg, said in pictures],
        settings=_settings(results),
        command=command,
    )


def _numbered(part: Sequence[tuple[str, list[Column]]]) -> list[tuple[str, list[tuple[int, Column]]]]:
    """Columns with their places in a row, the name before them."""
    places = count(1)
    return [(group, [(next(places), column) for column in columns]) for group, columns in part]


def _rows(results: Results, columns: list[Column], out: Path | None) -> list[dict[str, Any]]:
    """A row for each arm that has any of these figures."""
    return [
        {
            "number": number,
            "name": label(arm, results),
            "seeds": [(seed, _links(arm, seed, out)) for seed in arm.seeds],
            "dense": arm.dense,
            "cells": [(_value(arm, c), text(arm, c, results), results.rank(arm, c)) for c in columns],
        }
        for number, arm in enumerate(results.arms)
        if any(arm.values.get(column) for column in columns)
    ]


def _links(arm: Arm, seed: int, out: Path | None) -> list[str]:
    """Where the runs of a seed are, as seen from the page: their reports, or their folders where there is none."""
    if out is None:
        return []
    names = arm.runs.get(seed, ())
    return [
        f"{quote(name)}/{'report.html' if RunFolder(out / name).page.is_file() else ''}" for name in names
    ]


def _value(arm: Arm, column: Column) -> str:
    """What rows are sorted by; nothing where there is no figure."""
    mean = stat(arm.values[column].values()).mean if arm.values.get(column) else math.nan
    return repr(mean) if math.isfinite(mean) else ""


def _settings(results: Results) -> list[tuple[str, tuple[tuple[str, str, str], ...]]]:
    """What each arm was set to otherwise than its reference: setting, value there, value here."""
    found = [
        (label(arm, results), settings_unlike(telling(arm.reference), telling(arm.config)))
        for arm in results.arms
        if arm.reference and arm.config
    ]
    return [(name, rows) for name, rows in found if rows]


def headline(results: Results) -> str:
    """Which pruned arm is best, and what is not told apart from it."""
    pruned = [arm for arm in results.arms if arm.values.get(DELTA) and not arm.dense]
    ranked = [arm for arm in pruned if not any(arm.dead.values())]
    known = whole(ranked, DELTA)
    there = [arm for arm in ranked if math.isfinite(stat(arm.values[DELTA].values()).mean)]
    if not known:
        every = "Every pruned network is dead in a task." if pruned and not ranked else ""
        apart = "No pruned network has all seeds that others have, so none is the best." if there else ""
        return every or apart or "No pruned network has been compared with a dense one yet."
    best = max(known, key=lambda arm: stat(arm.values[DELTA].values()).mean)
    found = stat(best.values[DELTA].values())
    tied = [
        label(arm, results)
        for arm in known
        if results.rank(arm, DELTA) == "tied" and (arm.density, arm.against) == (best.density, best.against)
    ]
    tail = f"; the seeds do not tell {listing(tied)} apart from it" if tied else ""
    more = _training(best, results)
    among = "the only pruned network" if len(known) == 1 else f"the best of {len(known)}"
    among += f" with all {len(best.values[DELTA])} seeds" if len(known) < len(there) else ""
    return f"{label(best, results)}{more} is {among}, with a ΔT of {points(found.mean, found.margin)} against dense{tail}."


def _training(arm: Arm, results: Results) -> str:
    """In brackets, how much longer an arm was trained than the dense networks, if it was."""
    held = [a for a in results.arms if a.dense and a.recipe != "single-task" and a.tasks == arm.tasks]
    dense = next((a for a in held if a.against == arm.against), None)
    if dense is None or not (arm.values.get(STEPS) and dense.values.get(STEPS)):
        return ""
    ratio = stat(arm.values[STEPS].values()).mean / stat(dense.values[STEPS].values()).mean
    return f" (trained {ratio:g} times as long)" if ratio > 1.01 else ""
