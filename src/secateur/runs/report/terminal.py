"""The results of runs as one table for the command line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from secateur.measures import stat
from secateur.runs.report.compare import Comparison, Group, compare
from secateur.runs.report.formats import MISSING, count, decimals, percent, points, spread
from secateur.runs.report.record import RunRecord


def results_table(records: Sequence[RunRecord]) -> Table:
    """One column a run (seeds of one setting together, mean ± sd): metrics, delta-T, density, weights, MACs and non-zero ones.

    Raises:
        ValueError: If there is no run, or the runs have different tasks or metrics.
    """
    comparison = compare(records)
    first, groups = comparison.records[0], comparison.groups
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("", overflow="fold")
    for group in groups:
        table.add_column(Text(_name(group)), justify="right", overflow="fold")
    for task, values in first.tasks.items():
        for metric in values:
            places = decimals(g.metric(task, metric).mean for g in groups)
            found = [group.metric(task, metric) for group in groups]
            arrow = "↑" if first.higher_is_better[task][metric] else "↓"
            table.add_row(Text(f"{task} {metric} {arrow}"), *(spread(s.mean, s.sd, places) for s in found))
        table.add_section()
    table.add_row("ΔT mean ↑", *(_delta(comparison, group) for group in groups))
    sizes = [_size(group) for group in groups]
    titles = ("kept", "non-zero weights", "MACs", "non-zero MACs")
    for title, cells in zip(titles, zip(*sizes, strict=True), strict=True):
        table.add_row(title, *cells)
    return table


def _name(group: Group) -> str:
    runs = len(group.records)
    return group.label if runs == 1 else f"{group.label} ({runs} seeds)"


def _delta(comparison: Comparison, group: Group) -> Text:
    delta = comparison.delta(group, "mean")
    if delta is None:
        return Text("reference" if group is comparison.reference else MISSING, style="dim")
    return Text(points(delta.mean, delta.sd), style="green" if delta.mean >= 0 else "red")


def _size(group: Group) -> tuple[str, str, str, str]:
    density = stat([record.kept for record in group.records]).mean
    nonzero = stat([record.params["nonzero"] for record in group.records]).mean
    macs = stat([record.macs.dense for record in group.records]).mean
    sparse = stat([record.macs.sparse for record in group.records]).mean
    return percent(density), count(nonzero), count(macs), count(sparse)
