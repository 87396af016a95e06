"""What happened in training, as pictures: record -> SVG, or "" where the run logged nothing to draw."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Literal, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from secateur.runs.report.formats import listing, percent, whole
from secateur.runs.report.record import RunRecord
from secateur.runs.report.svg import INK, MUTED, SERIES, end_labels, new_figure, plain_text, shortened, to_svg

Series = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]  # name -> steps, values
_DASHES: tuple[tuple[int, ...], ...] = ((), (6, 2), (2, 2), (7, 2, 2, 2), (10, 3), (4, 1, 1, 1))
_MANY = 8  # thresholds that can be told apart in one plot
_FLOOR = 1e-3  # densities below are drawn here on a logarithmic axis


def colours(record: RunRecord) -> dict[str, str]:
    """Task and component to colour. A component named like a task has the task's; the rest follow, from the end."""
    tasks = sorted(record.tasks)
    others = [c for c in record.density.components if c not in record.tasks]
    found = {task: SERIES[i % len(SERIES)] for i, task in enumerate(tasks)}
    return found | {c: SERIES[-1 - i % len(SERIES)] for i, c in enumerate(others)}


def page_colours(record: RunRecord) -> dict[str, str]:
    """The same, as variables of the page, which has them in light and dark."""
    return {name: f"var(--series-{SERIES.index(colour)})" for name, colour in colours(record).items()}


def losses(record: RunRecord, slug: str) -> str:
    """Each task's training loss, faint as logged and bold as its running mean."""
    series = _series((row.step, row.loss) for row in record.train)
    return _lines(record, series, slug, "Training loss of each task", smooth=True, fit_log=30)


def loss_weights(record: RunRecord, slug: str) -> str:
    """What each task's loss was multiplied with."""
    series = _series((row.step, row.weight) for row in record.train)
    return _lines(record, series, slug, "Weight of each task's loss", fit_log=100)


def densities(record: RunRecord, slug: str) -> str:
    """Kept fraction of each component and overall; nothing for a run that stays dense."""
    rows = [(row.step, {**row.density.components, "overall": row.density.overall}) for row in record.train]
    series = _series(rows)
    if all(bool(np.all(values == 1)) for _, values in series.values()):
        return ""
    return _lines(record, series, slug, "Density of each component", unit="percent", fit_log=5)


def thresholds(record: RunRecord, slug: str) -> str:
    """Pruning threshold of each component; of many, such as layers, the lowest, the median and the highest."""
    rows = [(row.step, row.threshold) for row in record.train if row.threshold]
    if rows and len(rows[-1][1]) > _MANY:
        last = rows[-1][1]
        low, high = min(last, key=last.__getitem__), max(last, key=last.__getitem__)
        rows = [
            (s, {f"lowest, {low}": t[low], "median": median(t.values()), f"highest, {high}": t[high]})
            for s, t in rows
        ]
    return _lines(record, _series(rows), slug, "Pruning thresholds", fit_log=100)


def layer_densities(record: RunRecord, slug: str) -> str:
    """Heat map, layers from the input down against steps, each layer's last density at the right."""
    rows = [row for row in record.train if row.density.layers]
    names = list(rows[-1].density.layers) if rows else []
    table = np.array([[row.density.layers.get(n, math.nan) for row in rows] for n in names])  # (layer, step)
    if table.size == 0 or bool(np.all(table == 1)) or not np.isfinite(table).any():
        return ""
    row_height = 13.0 if len(names) <= 100 else 1300 / len(names)
    figure, axes = new_figure(1080, row_height * len(names) + 50 + 30, 250, 74)
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom, width, height - 30 / (row_height * len(names) + 80)))
    lowest = float(np.nanmin(np.where(table > 0, table, np.nan), initial=0.5))
    norm = LogNorm(vmin=max(_FLOOR, min(0.5, lowest)), vmax=1, clip=False)
    scale = LinearSegmentedColormap.from_list("kept", ["#e6efe9", "#9cc3b8", "#4d8f97", "#21546f", "#10263f"])
    scale = scale.with_extremes(under="#d98f7a", bad=(0, 0, 0, 0))
    steps = np.array([row.step for row in rows], dtype=np.float64)
    mesh = axes.pcolormesh(
        _edges(steps),
        np.arange(len(names) + 1),
        np.ma.masked_invalid(table),
        cmap=scale,
        norm=norm,
        rasterized=True,
    )
    axes.invert_yaxis()
    axes.grid(visible=False)
    _label_layers(axes, names, table[:, -1])
    _step_axis(axes)
    _colour_bar(axes, mesh, float(norm.vmin or _FLOOR))
    dead = sum(1 for value in table[:, -1] if value == 0)
    title = f"Density of {len(names)} layers over {whole(steps[-1])} steps. At the end "
    title += f"they range from {percent(np.nanmin(table[:, -1]))} to {percent(np.nanmax(table[:, -1]))}"
    return to_svg(figure, slug, title + (f"; {dead} have no weight left." if dead else "."))


def _label_layers(axes: Axes, names: Sequence[str], last: NDArray[np.float64]) -> None:
    stride = math.ceil(len(names) / 100)
    for i in range(0, len(names), stride):
        y = 1 - (i + 0.5) / len(names)
        plain_text(axes, -0.01, y, shortened(names[i], 42), ha="right", va="center", fontsize=9, color=MUTED)
        plain_text(axes, 1.01, y, percent(float(last[i])), va="center", fontsize=9, color=MUTED)
    axes.set_yticks([])
    stems = [name.split(".")[0] for name in names]
    borders = [i for i in range(1, len(stems)) if stems[i] != stems[i - 1]]
    if len(borders) <= 12:
        axes.hlines(borders, *axes.get_xlim(), color="#ffffff", linewidth=2)


def _colour_bar(axes: Axes, mesh: ScalarMappable, lowest: float) -> None:
    figure, box = cast(Figure, axes.figure), axes.get_position()
    pixel = 1 / (figure.get_figheight() * 72)
    bar = figure.add_axes((box.x0, box.y1 + 12 * pixel, 0.22, 8 * pixel))
    figure.colorbar(mesh, cax=bar, orientation="horizontal")  # pyright: ignore[reportAttributeAccessIssue]
    ticks = [t for t in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0) if t >= lowest * 0.99]
    bar.xaxis.set_major_locator(FixedLocator(ticks))
    bar.xaxis.set_minor_locator(FixedLocator([]))
    bar.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}\u202f%"))
    bar.tick_params(axis="x", top=True, bottom=False, labeltop=True, labelbottom=False, length=0, labelsize=9)
    bar.tick_params(axis="x", labelcolor=MUTED, pad=3)
    bar.spines[:].set_visible(False)
    plain_text(bar, 1.06, 0.5, "kept; rust red: nothing left", va="center", fontsize=9, color=MUTED)


def _lines(
    record: RunRecord,
    series: Series,
    slug: str,
    title: str,
    *,
    smooth: bool = False,
    unit: Literal["number", "percent"] = "number",
    fit_log: float,
) -> str:
    """Lines with their names at the end; logarithmic where the values span more than a factor ``fit_log``."""
    if not series:
        return ""
    longest = max(len(shortened(name)) for name in series)
    figure, axes = new_figure(530, 270, 52, 24 + 6.6 * longest)
    values = np.concatenate([v for _, v in series.values()])
    if unit == "percent":
        values = np.maximum(values, _FLOOR)
    logarithmic = bool(values.min() > 0 and values.max() / values.min() > fit_log)
    if logarithmic:
        axes.set_yscale("log")
    palette = colours(record) | {"overall": INK}
    ends: list[tuple[str, float, str]] = []
    for i, (name, (steps, line)) in enumerate(series.items()):
        drawn = np.maximum(line, _FLOOR) if logarithmic and unit == "percent" else line
        colour = palette.get(name, SERIES[i % len(SERIES)])
        if smooth and len(line) > 20:
            axes.plot(steps, drawn, color=colour, linewidth=1, alpha=0.3)
            drawn = _running_mean(drawn)
        marker = "o" if len(line) == 1 else ""
        (artist,) = axes.plot(steps, drawn, color=colour, linewidth=2, marker=marker, solid_capstyle="round")
        if _DASHES[i % len(_DASHES)]:
            artist.set_dashes(_DASHES[i % len(_DASHES)])
        ends.append((name, float(drawn[-1]), colour))
    axes.margins(x=0)
    _value_axis(axes, logarithmic, unit)
    _step_axis(axes)
    end_labels(axes, ends)
    show = percent if unit == "percent" else lambda value: f"{value:.3g}".replace("-", "\u2212")
    last = listing(f"{name} {show(value)}" for name, value, _ in ends)
    steps_shown = whole(max(float(s[-1]) for s, _ in series.values()))
    return to_svg(figure, slug, f"{title} over {steps_shown} steps. At the end: {last}.")


def _series(rows: Iterable[tuple[int, Mapping[str, float]]]) -> Series:
    """Columns of finite values, in the order in which their names first occur."""
    points: dict[str, list[tuple[float, float]]] = {}
    for step, values in rows:
        for name, value in values.items():
            if math.isfinite(value):
                points.setdefault(name, []).append((float(step), value))
    return {name: (np.array([s for s, _ in p]), np.array([v for _, v in p])) for name, p in points.items()}


def _running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over a centred window of about a fifteenth of the run, shorter at the ends."""
    half = max(2, len(values) // 30)
    total = np.concatenate([[0.0], np.cumsum(values)])
    i = np.arange(len(values))
    reach = np.minimum(half, np.minimum(i, len(values) - 1 - i))
    return (total[i + reach + 1] - total[i - reach]) / (2 * reach + 1)


def _edges(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = (centres[1:] + centres[:-1]) / 2
    first = centres[:1] - (centres[1:2] - centres[:1] if len(centres) > 1 else 1) / 2
    last = centres[-1:] + (centres[-1:] - centres[-2:-1] if len(centres) > 1 else 1) / 2
    return np.concatenate([first, middle, last])


def _value_axis(axes: Axes, logarithmic: bool, unit: Literal["number", "percent"]) -> None:
    if logarithmic:
        low, high = axes.get_ylim()
        subs = (1.0, 2.0, 5.0) if high / low < 150 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    if unit == "percent":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}\u202f%"))
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}".replace("-", "\u2212")))


def _step_axis(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: whole(value)))
