"""The table of a study for the terminal, as text, Markdown, LaTeX and JSON."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any, cast

from rich.console import Console
from rich.table import Column, Table

from secateur.measures import stat
from secateur.runs.report import MISSING
from secateur.runs.studies.shown import Row, Shown, key_of
from secateur.runs.study import as_table


def tables(found: Shown) -> list[Table]:
    """The table in parts that a terminal has room for, published figures beside ours."""
    first = [c for c in found.columns if c.group == "ΔT" or key_of(c) == "density overall"]
    others = [c for c in found.columns if c not in first]
    groups = dict.fromkeys(column.group for column in others)
    parts = [first, *([c for c in others if c.group == group] for group in groups)]
    made: list[Table] = []
    for number, columns in enumerate(filter(None, parts)):
        heads, rows = _grid(found, [key_of(c) for c in columns], first=number == 0)
        table = Table(Column("", overflow="fold"), show_edge=False, pad_edge=False, header_style="bold")
        for head in heads[1:]:
            table.add_column(head, justify="right", overflow="fold")
        for row in rows:
            if any(row[1:]):
                table.add_row(*row)
        made.append(table)
    return made


def plain(found: Shown) -> str:
    """All of it as text without colours."""
    console = Console(
        file=io.StringIO(), width=240, color_system=None, force_jupyter=False, markup=False, emoji=False
    )
    for table in tables(found):
        console.print(table)
        console.print()
    for note in found.notes:
        console.print(note, highlight=False)
    return cast(io.StringIO, console.file).getvalue()


def markdown(found: Shown) -> str:
    """One table, and its notes as a list."""
    heads, rows = _grid(found, [key_of(c) for c in found.columns], first=True)
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *(f"- {note}" for note in found.notes), ""])


def latex(found: Shown) -> str:
    """A ``table`` with ``booktabs``, its notes as the caption; published figures beside ours."""
    heads, rows = _grid(found, [key_of(c) for c in found.columns], first=True)
    return as_table(heads, rows, caption=" ".join(found.notes), label=found.study.name)


def to_dict(found: Shown, command: str) -> dict[str, Any]:
    """As plain values: every figure with its spread and seeds, the published one beside it."""
    return {
        "study": found.study.name,
        "source": found.study.source,
        "command": command,
        "rows": [_plain_row(found, row) for row in found.rows],
        "notes": list(found.notes),
    }


def _grid(found: Shown, keys: Sequence[str], first: bool) -> tuple[list[str], list[list[str]]]:
    """Headings, and each row as text; with the first table go the p values and the times."""
    columns = [c for c in found.columns if key_of(c) in keys]
    heads = [""]
    for column in columns:
        heads += [found.head(column), *(["published"] if found.has_published(column) else [])]
    tested, times = first and found.tested, found.times if first else {}
    heads += (["p"] if tested else []) + [f"ms, {engine}" for engine in times]
    rows: list[list[str]] = []
    for row in found.rows:
        cells = [f"{row.name} ({_seeds(row)})" if first else row.name]
        for column in columns:
            cells.append(row.cells.get(key_of(column), ""))
            if found.has_published(column):
                cells.append(row.published.get(key_of(column), ""))
        cells += [_p(found, row)] * tested
        cells += [f"{ms[row.name]:.3g}" if row.name in ms else "" for ms in times.values()]
        rows.append(cells)
    return heads, rows


def _seeds(row: Row) -> str:
    count = len(row.arm.seeds)
    return f"{count} seeds" if count != 1 else "1 seed"


def _p(found: Shown, row: Row) -> str:
    if row.p is not None:
        return "<0.001" if row.p < 0.001 else f"{row.p:.3f}"
    own = row.arm.recipe == found.study.against or (row.arm.dense and not row.arm.density)
    return "" if own else MISSING


def _plain_row(found: Shown, row: Row) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for column in found.columns:
        values = row.arm.values.get(column)
        if values:
            about = stat(values.values())
            figures[key_of(column)] = {
                "mean": _finite(about.mean),
                "sd": _finite(about.sd),
                "margin_95": _finite(about.margin),
                "seeds": {str(seed): _finite(value) for seed, value in values.items()},
                "published": found.values.get(row.name, {}).get(key_of(column)),
            }
    return {
        "row": row.name,
        "recipe": row.arm.recipe,
        "density": row.arm.density,
        "tasks": list(row.arm.tasks),
        "p": row.p,
        "ms": {engine: ms[row.name] for engine, ms in found.times.items() if row.name in ms},
        "figures": figures,
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
