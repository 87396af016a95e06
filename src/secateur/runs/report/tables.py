"""The tables and sentences of the page as text, ready to be laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from secateur.measures import Stat, stat
from secateur.runs.report.compare import Comparison, Group
from secateur.runs.report.formats import (
    MISSING,
    count,
    decimals,
    duration,
    fixed,
    listing,
    percent,
    points,
    spread,
)
from secateur.runs.report.record import RunRecord

_WIDEST = 9  # columns of figures beside the names, on a page of 1080 pixels
Verdict = Literal["better", "worse", "same", ""]


@dataclass(frozen=True)
class Cell:
    """A figure and, beneath it, its signed difference from dense with what that means."""

    text: str
    difference: str = ""
    verdict: Verdict = ""


@dataclass(frozen=True)
class Row:
    """A group of runs: its name, a line on what it is, and its cells."""

    name: str
    about: str
    reference: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Overview:
    """A table of results: under each task its metrics with whether higher is better."""

    tasks: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...]
    rows: tuple[Row, ...]
    first: bool  # and so what is kept and delta-T stand before the metrics

    @property
    def names(self) -> tuple[str, ...]:
        """What each cell of a row is, where a narrow page has no room for a head."""
        own = [
            f"{task} {name} {'↑' if higher else '↓'}"
            for task, metrics in self.tasks
            for name, higher in metrics
        ]
        return (*(("weights kept", "ΔT mean ↑", "ΔT sum ↑") if self.first else ()), *own)


@dataclass(frozen=True)
class Share:
    """A component (or the whole network): what it keeps of its weights and of its multiply-adds."""

    name: str
    density: str
    width: float  # of the bar, percent
    dense: str
    sparse: str
    remaining: str


def overviews(comparison: Comparison) -> tuple[Overview, ...]:
    """Density, delta-T (mean, sum) and every metric of every group, with differences from dense.

    Several tables one below the other where one would be wider than the page.
    """
    first = comparison.records[0]
    columns = [(task, metric) for task, metrics in first.tasks.items() for metric in metrics]
    made: list[Overview] = []
    while columns or not made:
        room = _WIDEST if made else _WIDEST - 3
        here, columns = columns[:room], columns[room:]
        tasks = [
            (task, tuple((m, first.higher_is_better[task][m]) for t, m in here if t == task))
            for task in dict.fromkeys(task for task, _ in here)
        ]
        rows = [_overview_row(comparison, group, here, not made) for group in comparison.groups]
        made.append(Overview(tuple(tasks), tuple(rows), not made))
    return tuple(made)


def _overview_row(
    comparison: Comparison, group: Group, columns: Sequence[tuple[str, str]], first: bool
) -> Row:
    cells: list[Cell] = []
    if first:
        cells.append(Cell(percent(stat([record.kept for record in group.records]).mean)))
        for reduce in ("mean", "sum"):
            cells.append(_delta_cell(comparison, comparison.delta(group, reduce)))
    cells.extend(_metric_cell(comparison, group, task, metric) for task, metric in columns)
    return Row(group.label, about(group), group is comparison.reference, tuple(cells))


def _delta_cell(comparison: Comparison, delta: Stat | None) -> Cell:
    if delta is None:
        return Cell("reference" if comparison.reference is not None else MISSING)
    return Cell(points(delta.mean, delta.sd), verdict=_verdict(round(delta.mean, 1)))


def _metric_cell(comparison: Comparison, group: Group, task: str, metric: str) -> Cell:
    here = group.metric(task, metric)
    places = decimals(g.metric(task, metric).mean for g in comparison.groups)
    text = spread(here.mean, here.sd, places)
    if comparison.reference is None or group is comparison.reference:
        return Cell(text)
    difference = here.mean - comparison.reference.metric(task, metric).mean
    gain = difference if group.first.higher_is_better[task][metric] else -difference
    return Cell(text, fixed(difference, places, signed=True), _verdict(round(gain, places)))


def _verdict(gain: float) -> Verdict:
    if gain != gain:  # NaN
        return ""
    return "better" if gain > 0 else "worse" if gain < 0 else "same"


def costs(comparison: Comparison) -> tuple[Row, ...]:
    """Parameters, nonzero ones, multiply-adds (dense, sparse, what remains) and training time of every group."""
    rows: list[Row] = []
    for group in comparison.groups:
        runs = group.records
        dense, sparse = _mean([r.macs.dense for r in runs]), _mean([r.macs.sparse for r in runs])
        texts = (
            count(_mean([r.params["total"] for r in runs])),
            count(_mean([r.params["prunable"] for r in runs])),
            count(_mean([r.params["nonzero"] for r in runs])),
            count(dense),
            count(sparse),
            percent(sparse / dense if dense else float("nan")),
            duration(_mean([r.train_seconds for r in runs])),
        )
        cells = tuple(Cell(text) for text in texts)
        rows.append(Row(group.label, about(group), group is comparison.reference, cells))
    return tuple(rows)


def shares(record: RunRecord) -> tuple[Share, ...]:
    """Density and multiply-adds of each component, then of the whole network."""
    names = list(dict.fromkeys([*record.density.components, *record.macs.components]))
    nan = float("nan")
    found = [
        _share(name, record.density.components.get(name, nan), record.macs.components.get(name, (nan, nan)))
        for name in names
    ]
    return (*found, _share("whole network", record.density.overall, (record.macs.dense, record.macs.sparse)))


def _share(name: str, density: float, macs: tuple[float, float]) -> Share:
    dense, sparse = macs
    width = 100 * density if density == density else 0.0
    remaining = percent(sparse / dense if dense else float("nan"))
    return Share(name, percent(density), width, count(dense), count(sparse), remaining)


def about(group: Group) -> str:
    """Method, weighting and seeds of a group in a line."""
    seeds = [str(record.seed) for record in group.records]
    seed_text = (
        f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds ({', '.join(seeds)}), mean ± sd"
    )
    return f"{group.first.method} · {group.first.weighting} · {seed_text}"


def headline(comparison: Comparison) -> str:
    """What came out, in a sentence."""
    pruned = [group for group in comparison.groups if not group.first.dense]
    if not pruned:
        return f"The dense network: {listing(g.label for g in comparison.groups)}, nothing pruned."
    known, whole = _known(comparison, pruned)
    if not known:
        kept = listing(dict.fromkeys(_kept(group) for group in pruned))
        return f"{kept} of the weights. No figures to set against a dense network."
    best, delta = max(whole, key=lambda item: item[1])
    tail = f"ΔT {points(delta)}{_tasks(comparison, best)}"
    if len(pruned) == 1:
        return f"{_kept(best)} of the weights, {tail}"
    among = f" with all {len(best.records)} seeds" if len(whole) < len(known) else ""
    start = f"Best of {len(whole) if among else len(pruned)}" if len(whole) > 1 or not among else "Alone"
    return f"{start}{among}: {best.label}, {_kept(best)} of the weights, {tail}"


def _known(
    comparison: Comparison, groups: Sequence[Group]
) -> tuple[list[tuple[Group, float]], list[tuple[Group, float]]]:
    """Groups with their ΔT, and those of them to choose the best from: with every seed that any has, where there are such."""
    deltas = [(group, comparison.delta(group, "mean")) for group in groups]
    known = [(group, delta.mean) for group, delta in deltas if delta is not None and delta.mean == delta.mean]
    seeds = {record.seed for group, _ in known for record in group.records}
    return known, [item for item in known if {record.seed for record in item[0].records} == seeds] or known


def subline(comparison: Comparison) -> str:
    """What the headline leaves out: parameters and multiply-adds of the pruned groups' first."""
    pruned = [group for group in comparison.groups if not group.first.dense] or list(comparison.groups)
    _, whole = _known(comparison, pruned)
    group = max(whole, key=lambda item: item[1])[0] if whole else pruned[0]
    params, macs = group.first.params, group.first.macs
    each = f" for each of {macs.images} tasks" if macs.images > 1 else ""
    image = len(macs.input) == 3
    size = f"an input of {' × '.join(str(n) for n in macs.input[1:])} pixels" if image else "one sample"
    before, work = group.first.before or (params["total"], macs.dense)
    left = params["nonzero"] if group.first.before is None else params["total"]
    return (
        f"{group.label} keeps {count(left)} of {count(before)} parameters and "
        f"{count(macs.sparse)} of {count(work)} multiply-adds on {size}{each}."
    )


def task_deltas(comparison: Comparison, group: Group) -> tuple[Cell, ...]:
    """Each task's delta-T; the task is the text."""
    deltas = comparison.task_deltas(group)
    return tuple(Cell(task, points(delta), _verdict(round(delta, 1))) for task, delta in deltas.items())


def _tasks(comparison: Comparison, group: Group) -> str:
    """The end of the headline: ": better than dense on seg and depth, worse on normal."."""
    deltas = task_deltas(comparison, group)
    better = [cell.text for cell in deltas if cell.verdict == "better"]
    worse = [cell.text for cell in deltas if cell.verdict == "worse"]
    parts = [f"better than dense on {listing(better)}"] if better else []
    parts += [f"worse {'' if better else 'than dense '}on {listing(worse)}"] if worse else []
    return f": {', '.join(parts)}." if parts else "."


def _kept(group: Group) -> str:
    return percent(_mean([record.kept for record in group.records]))


def _mean(values: Sequence[float]) -> float:
    return stat(values).mean
