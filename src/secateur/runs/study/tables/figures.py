"""Figures of a comparison: ΔT over sparsity, and what it is measured by over an option that is swept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator

from secateur.measures import stat
from secateur.runs.report import (
    MUTED,
    RULE,
    SERIES,
    Drawing,
    end_labels,
    listing,
    new_figure,
    percent,
    points,
    shortened,
    stacked,
)
from secateur.runs.study.results import Arm, Results
from secateur.runs.study.tables.columns import DELTA, Column, is_metric
from secateur.runs.study.tables.labels import called, label

_MOST = 8  # panels
_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}
_Point = tuple[str, float, float]  # place on the axis, mean, half a band


@dataclass(frozen=True)
class _Line:
    """A series: its name, and its points in any order."""

    name: str
    points: tuple[_Point, ...]


def curve(results: Results, slug: str = "curve") -> str:
    """ΔT over sparsity as inline SVG, see :func:`over_sparsity`; "" with fewer than two densities."""
    drawn = over_sparsity(results, slug)
    return drawn.svg() if drawn else ""


def over_sparsity(results: Results, slug: str = "curve") -> Drawing | None:
    """ΔT over sparsity, a line for each recipe with its confidence interval; None with fewer than two densities."""
    most = max((len(arm.tasks) for arm in results.arms), default=0)
    found: dict[str, dict[float, tuple[float, float]]] = {}
    for arm in results.arms:
        if arm.density is None or len(arm.tasks) != most or not arm.values.get(DELTA):
            continue
        about = stat(arm.values[DELTA].values())
        if math.isfinite(about.mean):
            found.setdefault(label(arm, Results((), (arm,))), {})[1 - arm.density] = (
                about.mean,
                about.margin or 0.0,
            )
    sparsities = sorted({x for line in found.values() for x in line})
    if len(sparsities) < 2:
        return None
    lines = [
        _Line(name, tuple((str(x), mean, margin) for x, (mean, margin) in line.items()))
        for name, line in found.items()
    ]
    figure, axes = new_figure(1080, 420, 60, 24 + 6.6 * max(len(shortened(line.name)) for line in lines))
    ends, wide = _draw(axes, lines, [str(x) for x in sparsities], [percent(x) for x in sparsities])
    _label(axes, "sparsity", DELTA)
    left = f" Wider than the picture, so without a band: {listing(wide)}." if wide else ""
    said = listing(f"{recipe} {points(value)}" for recipe, value, _ in ends)
    title = f"ΔT against dense over sparsity. At {percent(sparsities[-1])}: {said}.{left}"
    return Drawing(figure, slug, title)


def over_options(results: Results) -> dict[str, Drawing]:
    """A drawing for each option with two values or more, its measures one below the other, a line for each run otherwise alike.

    Measures are the columns that were asked for, without densities and costs, or else ΔT and the first metric of each task.
    """
    swept = dict.fromkeys(option for arm in results.arms for option, _ in arm.settings)
    drawn = {option: _over(results, option, _measures(results)) for option in swept}
    return {option: drawing for option, drawing in drawn.items() if drawing}


def _measures(results: Results) -> list[Column]:
    if results.asked and (chosen := [c for c in results.columns if c.better]):
        return chosen[:_MOST]
    first: dict[str, Column] = {}
    for column in filter(is_metric, results.columns):
        first.setdefault(column.group, column)
    return [c for c in (DELTA, *first.values()) if c in results.columns][:_MOST]


def _over(results: Results, option: str, measures: Sequence[Column]) -> Drawing | None:
    most = max((len(arm.tasks) for arm in results.arms), default=0)
    arms = [a for a in results.arms if option in dict(a.settings)]
    arms = [a for a in arms if len(a.tasks) == most or option == "data.tasks"]
    values = _ordered([dict(arm.settings)[option] for arm in arms])
    panels = [(column, _lines(arms, option, column, results)) for column in measures]
    panels = [(column, lines) for column, lines in panels if lines]
    if len(values) < 2 or not panels:
        return None
    names = [line.name for _, lines in panels for line in lines]
    swept = {o for arm in results.arms for o, _ in arm.settings}
    figure, several = stacked(len(panels), 24 + 6.6 * max(len(shortened(name)) for name in names))
    colours = {name: SERIES[n % len(SERIES)] for n, name in enumerate(dict.fromkeys(names))}
    for axes, (column, lines) in zip(several, panels, strict=True):
        _draw(axes, lines, values, values, colours, column.unit == "points")
        _label(axes, called(option, swept) if axes is several[-1] else "", column)
    said = listing(f"{column.group} {column.name}" for column, _ in panels)
    return Drawing(figure, f"over-{option.replace('.', '-')}", f"{said} over {option}: {listing(values)}.")


def _lines(arms: Sequence[Arm], option: str, column: Column, results: Results) -> list[_Line]:
    found: dict[str, list[_Point]] = {}
    for arm in arms:
        about = stat(arm.values.get(column, {}).values()) if arm.values.get(column) else None
        if about is None or not math.isfinite(about.mean) or (arm.dense and column.group == "ΔT"):
            continue
        others = tuple(setting for setting in arm.settings if setting[0] != option)
        name = label(Arm(arm.recipe, arm.density, arm.tasks, arm.dense, {}, others), results)
        band = about.margin if column.unit == "points" else about.sd
        found.setdefault(name, []).append((dict(arm.settings)[option], about.mean, band or 0.0))
    return [_Line(name, tuple(line)) for name, line in found.items()]


def _ordered(values: Sequence[str]) -> list[str]:
    """Each once: numbers by size, others as they come."""
    once = list(dict.fromkeys(values))
    try:
        return sorted(once, key=float)
    except ValueError:
        return once


def _draw(
    axes: Axes,
    lines: Sequence[_Line],
    places: Sequence[str],
    ticks: Sequence[str],
    colours: Mapping[str, str] | None = None,
    percents: bool = True,
) -> tuple[list[tuple[str, float, str]], list[str]]:
    """Lines with bands over equal steps; returns the ends, and the lines whose band would fill the picture."""
    means = [mean for line in lines for _, mean, _ in line.points]
    worst, best = min(means), max(means)
    room, least = ((best - worst), 1.0) if percents else ((best - worst) or abs(best) or 1.0, 0.0)
    bottom, top = worst - 0.1 * room - least, best + 0.15 * room + least
    axes.set_ylim(bottom, top)
    ends: list[tuple[str, float, str]] = []
    wide: list[str] = []
    for number, line in enumerate(lines):
        colour = (colours or {}).get(line.name, SERIES[number % len(SERIES)])
        ordered = sorted(line.points, key=lambda point: places.index(point[0]))
        xs = [float(places.index(place)) for place, _, _ in ordered]
        ys, bands = [mean for _, mean, _ in ordered], [band for _, _, band in ordered]
        if 2 * max(bands) > top - bottom:  # one that fills the picture says nothing and hides the others
            wide.append(line.name)
        else:
            low = [y - band for y, band in zip(ys, bands, strict=True)]
            high = [y + band for y, band in zip(ys, bands, strict=True)]
            axes.fill_between(xs, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.plot(xs, ys, color=colour, linewidth=2, marker="o", markersize=4)
        ends.append((line.name, ys[-1], colour))
    axes.grid(visible=True, axis="x", color=RULE, linewidth=1)
    axes.xaxis.set_major_locator(FixedLocator(list(range(len(places)))))
    axes.xaxis.set_major_formatter(FixedFormatter([shortened(t, 18).replace("$", r"\$") for t in ticks]))
    axes.yaxis.set_major_locator(MaxNLocator(7 if colours is None else 5))
    end_labels(axes, ends)
    return ends, wide


def _label(axes: Axes, x: str, column: Column) -> None:
    axes.set_xlabel(x.replace("$", r"\$"), fontsize=11, color=MUTED)
    if column.unit == "points":
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: points(value)))
    if x != "sparsity":
        said = f"{column.group} {column.name}{_ARROWS[column.better]}".replace("$", r"\$")
        axes.set_title(said, fontsize=11, color=MUTED, loc="left")


def drawings(results: Results) -> dict[str, Drawing]:
    """Every drawing by the name of its files, without a suffix."""
    made = {f"over_{option.removesuffix('.name')}": d for option, d in over_options(results).items()}
    drawn = over_sparsity(results)
    return {**({"curve": drawn} if drawn else {}), **made}
