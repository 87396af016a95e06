"""The results as a table: for the terminal, as CSV, Markdown and JSON."""

from __future__ import annotations

import csv
import io
import math
from typing import Any, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from secateur.measures import stat
from secateur.runs.report import MISSING, count, decimals, percent, points, spread
from secateur.runs.study.results import Arm, Results
from secateur.runs.study.tables.columns import DENSITY, STEPS, TO_SINGLE, TOTAL, Column, panels
from secateur.runs.study.tables.labels import label
from secateur.runs.study.tables.notes import Marks, note

_WIDE = 6  # columns of figures that a terminal has room for


def text(arm: Arm, column: Column, results: Results) -> str:
    """A figure as text: mean ± standard deviation; ΔT with the margin of its confidence interval instead."""
    values = arm.values.get(column)
    if not values:
        return ""
    found = stat(values.values())
    own = column.group == "ΔT" and (arm.recipe == "single-task") == (column == TO_SINGLE)
    if (
        arm.dense
        and own
        and not arm.reference
        and all(math.isnan(value) or value == 0 for value in values.values())
    ):
        return "reference"  # of itself
    match column.unit:
        case "points":
            return points(found.mean, found.margin)
        case "percent":
            return percent(found.mean)
        case "count":
            return count(found.mean)
        case "ratio":
            return MISSING if math.isnan(found.mean) else f"{found.mean:.2f}×"
        case "number":
            places = decimals(
                stat(a.values[column].values()).mean for a in results.arms if a.values.get(column)
            )
            return spread(found.mean, found.sd, places)


def terminal(results: Results, marks: Marks = "style") -> list[Table]:
    """What it cost, each task's metrics, the densities, or the columns asked for; a row for each arm, marked as :func:`note` says."""
    if results.asked:
        parts = [[c for _, own in part for c in own] for part in panels(results.columns, _WIDE)]
        return [_table(results, columns, marks) for columns in parts]
    groups = list(dict.fromkeys(column.group for column in results.columns))
    overall = [c for c in results.columns if c == DENSITY]
    summary = [*_of(results, "ΔT"), *overall, *_of(results, "cost")]
    rest = [_of(results, group) for group in groups if group not in ("ΔT", "cost")]
    return [_table(results, columns, marks) for columns in (summary, *rest) if columns]


def _of(results: Results, group: str) -> list[Column]:
    return [column for column in results.columns if column.group == group]


def _table(results: Results, columns: list[Column], marks: Marks) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("", overflow="fold")
    arrows = {"higher": " ↑", "lower": " ↓", "": ""}
    for column in columns:
        head = Text(f"{column.group} {column.name}{arrows[column.better]}")
        table.add_column(head, justify="right", overflow="fold")
    rows = zip(*(_cells(results, column, marks) for column in columns), strict=True)
    for arm, cells in zip(results.arms, rows, strict=True):
        if any(cell.plain for cell in cells):
            table.add_row(Text(f"{label(arm, results)} ({_seeds(arm)})"), *cells)
    return table


def _cells(results: Results, column: Column, marks: Marks) -> list[Text]:
    """The figures of a column with their marks; characters stand behind figures that stay aligned."""
    ranks = [results.rank(arm, column) for arm in results.arms]
    written = [text(arm, column, results) for arm in results.arms]
    if marks == "style" or not any(ranks):
        return [Text(w, style=_STYLES[r]) for w, r in zip(written, ranks, strict=True)]
    width = max(len(w) for w in written)
    marked = [w.rjust(width) + _CHARACTERS[r] if w else "" for w, r in zip(written, ranks, strict=True)]
    return [Text(w, justify="left") for w in marked]  # justified to the right the blank mark would be cut off


def marks_on(console: Console) -> Marks:
    """How to mark on this console: a pipe or a file has no bold."""
    return "style" if console.color_system is not None else "characters"


def plain(results: Results) -> str:
    """The terminal's table and its note as text without colours."""
    console = Console(
        file=io.StringIO(), width=240, color_system=None, force_jupyter=False, markup=False, emoji=False
    )
    for table in terminal(results, "characters"):
        console.print(table)
        console.print()
    console.print(note(results, "characters"), highlight=False)
    return cast(io.StringIO, console.file).getvalue()


def to_csv(results: Results) -> str:
    """One line an arm and column: mean, standard deviation, confidence interval, seeds, mark."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["recipe", "density", "tasks", "group", "name", "better", "mean", "sd", "margin_95", "seeds", "mark", "settings"]
    )  # fmt: skip
    for arm in results.arms:
        for column, values in arm.values.items():
            found = stat(values.values())
            about = (arm.recipe, arm.density, "+".join(arm.tasks), column.group, column.name, column.better)
            figures = (found.mean, found.sd, found.margin, len(values), results.rank(arm, column))
            writer.writerow(
                [*about, *figures, "; ".join(f"{option}={value}" for option, value in arm.settings)]
            )
    return buffer.getvalue()


def to_markdown(results: Results) -> str:
    """A row for each arm, without the densities of components; best bold, what is not significantly worse in italics."""
    heads = [c for c in results.columns if c not in (TOTAL, STEPS) and (c.unit != "percent" or c == DENSITY)]
    heads = list(results.columns) if results.asked else heads
    arrows = {"higher": " ↑", "lower": " ↓", "": ""}
    lines = [
        "| | " + " | ".join(_cell(f"{c.group} {c.name}{arrows[c.better]}") for c in heads) + " |",
        "| --- |" + " ---: |" * len(heads),
    ]
    wraps = {"best": "**{}**", "tied": "*{}*", "": "{}"}
    for arm in results.arms:
        cells = [wraps[results.rank(arm, c)].format(text(arm, c, results)) for c in heads]
        lines.append(f"| {_cell(label(arm, results))} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(plain: str) -> str:
    """A name in a cell of Markdown."""
    return "".join(f"\\{c}" if c in "\\|*`<>[]$~" else " " if c in "\r\n" else c for c in plain)


def to_dict(results: Results) -> list[dict[str, Any]]:
    """Arms as plain values, each figure with its value for every seed, and the tasks that are dead in one."""
    return [
        {
            "recipe": arm.recipe,
            "density": arm.density,
            "tasks": list(arm.tasks),
            "dense": arm.dense,
            "settings": dict(arm.settings),
            "dead": {str(seed): list(tasks) for seed, tasks in arm.dead.items() if tasks},
            "figures": [
                {
                    "group": column.group,
                    "name": column.name,
                    "better": column.better,
                    "seeds": {str(seed): _plain(value) for seed, value in values.items()},
                    "mean": _plain(stat(values.values()).mean),
                    "sd": _plain(stat(values.values()).sd),
                    "margin_95": _plain(stat(values.values()).margin),
                    "mark": results.rank(arm, column),
                }
                for column, values in arm.values.items()
            ],
        }
        for arm in results.arms
    ]


_STYLES = {"best": "bold", "tied": "underline", "": ""}
_CHARACTERS = {"best": "*", "tied": "~", "": " "}


def _seeds(arm: Arm) -> str:
    return f"{len(arm.seeds)} seeds" if len(arm.seeds) != 1 else "1 seed"


def _plain(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
