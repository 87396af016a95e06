"""Which columns are asked for: held, before anything trains, against those that the runs will have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from secateur.measures import higher_is_better
from secateur.problem import components, preserved_rng
from secateur.runs.arguments import trusted
from secateur.runs.folder import RunFolder
from secateur.runs.problems import make_problem
from secateur.runs.study.cells import Cell
from secateur.runs.study.results import Results, collect
from secateur.runs.study.sound import look_at, unread
from secateur.runs.study.tables.columns import (
    COSTS,
    DELTA,
    DENSITY,
    TO_SINGLE,
    TOTAL,
    Column,
    choose,
    in_order,
    of_component,
    of_task,
    there,
)


def with_columns(results: Results, columns: Sequence[str]) -> Results:
    """The results with the columns that are asked for, of those that there are by now; all if none are."""
    return replace(results, columns=there(columns, results.columns), asked=True) if columns else results


def check_columns(columns: Sequence[str], cells: Sequence[Cell], out: Path) -> None:
    """Raises ValueError if a column is asked for that no run will have, naming those there are.

    The data are looked at, not read; a network is made only where a component is asked for, or nothing else has the name.
    """
    if not columns:
        return
    finished = all(RunFolder(out / cell.name).finished for cell in cells)
    known = [*collect(cells, out).columns, *([] if finished else foreseen(cells))]
    try:
        choose(columns, in_order(known))
    except ValueError:
        if finished:
            raise
        choose(columns, in_order([*known, *_components(cells)]))


def foreseen(cells: Sequence[Cell]) -> list[Column]:
    """The columns that the runs will have, without the densities of components.

    Raises:
        ValueError: If the data refuse their options.
        FileNotFoundError: If they are not there.
    """
    most = max(cells, key=lambda cell: len(cell.tasks))
    tasks = look_at(most.config, trusted(most.arguments)).tasks
    better = higher_is_better(tasks)
    alone = {cell.tasks for cell in cells if cell.dense and len(cell.tasks) == 1}
    single = len(most.tasks) > 1 and {(task,) for task in most.tasks} <= alone
    found = [DELTA, TOTAL, *map(of_task, tasks), *([TO_SINGLE] if single else [])]
    found += [
        Column(task, metric, "higher" if higher else "lower")
        for task, metrics in better.items()
        for metric, higher in metrics.items()
    ]
    return [*found, DENSITY, *COSTS]


def _components(cells: Sequence[Cell]) -> list[Column]:
    most = max(cells, key=lambda cell: len(cell.tasks))
    with preserved_rng():
        problem, _ = make_problem(unread(most.config), trust=trusted(most.arguments))
        return [of_component(name) for name in components(problem)]
