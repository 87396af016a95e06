"""Pictures of studies: figures -> what is drawn, or None where there is nothing to draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

from secateur.runs.report import (
    INK,
    MUTED,
    SERIES,
    Drawing,
    end_labels,
    listing,
    new_figure,
    points,
    shortened,
)

Line = Sequence[tuple[float, float]]  # (x, y)


def dots(
    rows: Mapping[str, Mapping[str, float]], slug: str, title: str, of: str = "ΔT against dense, %"
) -> Drawing | None:
    """A line for each row with a dot for each series; ``mean`` is dark and larger.

    Args:
        rows: Row to series to value; those that are not finite are left out.
        slug: Makes the ids unique on a page.
        title: Alternative text, to which the means are added.
        of: What the axis shows.
    """
    known = {name: {s: v for s, v in row.items() if math.isfinite(v)} for name, row in rows.items()}
    known = {name: row for name, row in known.items() if row}
    if not known:
        return None
    names, series = list(known), list(dict.fromkeys(s for row in known.values() for s in row))
    left = 24 + 6.6 * max(len(shortened(name, 34)) for name in names)
    figure, axes = new_figure(900, 24 * len(names) + 84, left, 24 + 6.6 * max(map(len, series)))
    others: list[str] = [s for s in series if s != "mean"]
    ordered: list[str] = [*others, "mean"] if "mean" in series else others
    ends: list[tuple[str, float, str]] = []
    for place, name in enumerate(ordered):
        colour = INK if name == "mean" else SERIES[place % len(SERIES)]
        found = [(row[name], y) for y, row in enumerate(known.values()) if name in row]
        axes.plot(
            [x for x, _ in found], [y for _, y in found], linestyle="", marker="o", color=colour, markersize=8 if name == "mean" else 5
        )  # fmt: skip
        ends.append((name, 0.0, colour))
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(names)))))
    axes.yaxis.set_major_formatter(
        FixedFormatter([shortened(name, 34).replace("$", r"\$") for name in names])
    )
    axes.set_xlabel(of, fontsize=11, color=MUTED)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\u2212")))
    end_labels(axes, ends)
    said = listing(f"{name} {points(row['mean'])}" for name, row in known.items() if "mean" in row)
    return Drawing(figure, slug, f"{title}. {said}." if said else f"{title}.")


def lines(
    series: Mapping[str, Line],
    slug: str,
    title: str,
    *,
    x: str,
    y: str,
    ticks: Sequence[str] = (),
    marker: bool = True,
    logarithmic: bool = False,
) -> Drawing | None:
    """A line for each series with its name at the end.

    Args:
        series: Name to points, in the order in which they are joined; those that are not finite are left out.
        slug: Makes the ids unique on a page.
        title: Alternative text.
        x: What the horizontal axis shows.
        y: What the vertical axis shows; it stands above it.
        ticks: Names of the places 0, 1, ... of the horizontal axis, where these are no numbers.
        marker: Points are marked.
        logarithmic: The vertical axis is, where all values allow it.
    """
    known = {
        name: [(a, b) for a, b in line if math.isfinite(a) and math.isfinite(b)]
        for name, line in series.items()
    }
    known = {name: line for name, line in known.items() if line}
    if not known:
        return None
    longest = max(len(shortened(name, 34)) for name in known)
    bottom = 5.2 * max(map(len, ticks), default=0)
    figure, axes = new_figure(1080, 380 + bottom, 60, 24 + 6.6 * longest)
    if ticks:
        box = axes.get_position()
        room = bottom / (380 + bottom)
        axes.set_position((box.x0, box.y0 + room, box.width, box.height - room))
    ends: list[tuple[str, float, str]] = []
    for place, (name, line) in enumerate(known.items()):
        colour = SERIES[place % len(SERIES)]
        (artist,) = axes.plot(
            [a for a, _ in line], [b for _, b in line], color=colour, linewidth=2, marker="o" if marker or len(line) == 1 else "", markersize=4
        )  # fmt: skip
        if place >= len(SERIES):
            artist.set_dashes((6, 2))
        ends.append((shortened(name, 34), line[-1][1], colour))
    if logarithmic and min(b for line in known.values() for _, b in line) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(7))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\u2212")))
    axes.set_xlabel(x, fontsize=11, color=MUTED)
    axes.set_title(y, fontsize=11, color=MUTED, loc="left")
    if ticks:
        axes.xaxis.set_major_locator(FixedLocator(list(range(len(ticks)))))
        axes.xaxis.set_major_formatter(FixedFormatter([tick.replace("$", r"\$") for tick in ticks]))
        axes.tick_params(axis="x", labelrotation=90, labelsize=8)
    end_labels(axes, ends)
    return Drawing(figure, slug, title)
