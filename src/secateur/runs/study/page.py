"""The comparison as one page: the table, and with several densities the curve of ΔT over sparsity."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from secateur.measures import stat
from secateur.runs.report import (
    MUTED,
    RULE,
    SERIES,
    end_labels,
    listing,
    new_figure,
    percent,
    points,
    template,
    to_svg,
)
from secateur.runs.study.results import Arm, Column, Results, panels
from secateur.runs.study.table import label, note, text

_HERE = Path(__file__).parent
_WIDEST = 8  # columns of figures beside the names, on a page of 1080 pixels
_DELTA = Column("ΔT", "mean", "higher", "points")
_STEPS = Column("cost", "steps", "", "count")


def page(results: Results, command: str) -> str:
    """A self-contained HTML page."""
    parts = [
        (part, _rows(results, [c for _, own in part for c in own]))
        for part in panels(results.columns, _WIDEST)
    ]
    return template(_HERE / "page.html.j2").render(
        style=Markup((_HERE.parent / "report" / "style.css").read_text(encoding="utf-8")),
        headline=headline(results),
        parts=parts,
        note=note(results),
        curve=Markup(curve(results)),
        command=command,
    )


def _rows(results: Results, columns: list[Column]) -> list[dict[str, Any]]:
    """A row for each arm that has any of these figures."""
    return [
        {
            "name": label(arm, results),
            "about": f"{len(arm.seeds)} seeds" if len(arm.seeds) > 1 else "one seed",
            "dense": arm.dense,
            "cells": [(text(arm, c, results), results.rank(arm, c)) for c in columns],
        }
        for arm in results.arms
        if any(arm.values.get(column) for column in columns)
    ]


def headline(results: Results) -> str:
    """Which pruned arm is best, and what is not told apart from it."""
    ranked = [arm for arm in results.arms if arm.values.get(_DELTA) and not arm.dense]
    known = [arm for arm in ranked if math.isfinite(stat(arm.values[_DELTA].values()).mean)]
    if not known:
        return "No pruned network has been compared with a dense one yet."
    best = max(known, key=lambda arm: stat(arm.values[_DELTA].values()).mean)
    found = stat(best.values[_DELTA].values())
    tied = [
        label(arm, results)
        for arm in known
        if results.rank(arm, _DELTA) == "tied" and arm.density == best.density
    ]
    tail = f"; the seeds do not tell {listing(tied)} apart from it" if tied else ""
    more = _training(best, results)
    among = "the only pruned network" if len(known) == 1 else f"the best of {len(known)}"
    return f"{label(best, results)}{more} is {among}, with a ΔT of {points(found.mean, found.margin)} against dense{tail}."


def _training(arm: Arm, results: Results) -> str:
    """In brackets, how much longer an arm was trained than the dense networks, if it was."""
    dense = next(
        (a for a in results.arms if a.dense and a.recipe != "single-task" and a.tasks == arm.tasks), None
    )
    if dense is None or not (arm.values.get(_STEPS) and dense.values.get(_STEPS)):
        return ""
    ratio = stat(arm.values[_STEPS].values()).mean / stat(dense.values[_STEPS].values()).mean
    return f" (trained {ratio:g} times as long)" if ratio > 1.01 else ""


def curve(results: Results, slug: str = "curve") -> str:
    """ΔT over sparsity, a line for each recipe with its confidence interval; "" with fewer than two densities."""
    most = max((len(arm.tasks) for arm in results.arms), default=0)
    lines: dict[str, list[tuple[float, float, float]]] = {}
    for arm in results.arms:
        if arm.density is None or len(arm.tasks) != most or not arm.values.get(_DELTA):
            continue
        found = stat(arm.values[_DELTA].values())
        if math.isfinite(found.mean):
            lines.setdefault(arm.recipe, []).append((1 - arm.density, found.mean, found.margin or 0.0))
    sparsities = sorted({x for line in lines.values() for x, _, _ in line})
    if len(sparsities) < 2:
        return ""
    figure, axes = new_figure(1080, 420, 60, 200)
    places = {x: float(i) for i, x in enumerate(sparsities)}  # equal steps: what matters happens near the end
    ends: list[tuple[str, float, str]] = []
    means_of = [m for line in lines.values() for _, m, _ in line]
    worst, best = min(means_of), max(means_of)
    bottom, top = worst - 0.1 * (best - worst) - 1, best + 0.15 * (best - worst) + 1
    axes.set_ylim(bottom, top)
    wide: list[str] = []
    for i, (recipe, line) in enumerate(lines.items()):
        xs, means = [places[x] for x, _, _ in sorted(line)], [m for _, m, _ in sorted(line)]
        margins, colour = [e for _, _, e in sorted(line)], SERIES[i % len(SERIES)]
        low = [m - e for m, e in zip(means, margins, strict=True)]
        high = [m + e for m, e in zip(means, margins, strict=True)]
        if 2 * max(margins) > top - bottom:  # a band that fills the picture says nothing and hides the others
            wide.append(recipe)
        else:
            axes.fill_between(xs, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.plot(xs, means, color=colour, linewidth=2, marker="o", markersize=4)
        ends.append((recipe, means[-1], colour))
    axes.axhline(0, color=MUTED, linewidth=1)
    axes.grid(visible=True, axis="x", color=RULE, linewidth=1)
    axes.set_xlabel("sparsity", fontsize=11, color=MUTED)
    axes.xaxis.set_major_locator(FixedLocator(list(places.values())))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(sparsities[round(value)])))
    axes.yaxis.set_major_locator(MaxNLocator(7))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: points(value)))
    end_labels(axes, ends)
    left = f" Wider than the picture, so without a band: {listing(wide)}." if wide else ""
    said = listing(f"{recipe} {points(value)}" for recipe, value, _ in ends)
    return to_svg(
        figure, slug, f"ΔT against dense over sparsity. At {percent(sparsities[-1])}: {said}.{left}"
    )
