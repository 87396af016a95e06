"""From finished runs to the figures of a comparison: per arm, column and seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from secateur.measures import delta_t, differs, stat
from secateur.runs.folder import RunFolder
from secateur.runs.study.cells import Cell

Better = Literal["higher", "lower", ""]
Unit = Literal["number", "points", "percent", "count", "ratio"]
Report = dict[str, Any]
Known = dict[tuple[tuple[str, ...], int], Report]  # of (tasks, seed)


@dataclass(frozen=True)
class Column:
    """One figure of every arm.

    Args:
        group: What stands above it: a task, or "ΔT".
        name: Metric.
        better: Which direction is.
        unit: How it is written: a plain number, signed percentage points, a share, a count, a ratio to dense.
    """

    group: str
    name: str
    better: Better = ""
    unit: Unit = "number"


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but the seed; or one run for each task, taken together.

    Args:
        recipe: Or ``"single-task"``.
        density: Asked; None for none.
        tasks: Of its networks.
        dense: Nothing is pruned.
        values: Column to seed to figure.
    """

    recipe: str
    density: float | None
    tasks: tuple[str, ...]
    dense: bool
    values: dict[Column, dict[int, float]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that are finished."""
        return tuple(sorted({seed for found in self.values.values() for seed in found}))


@dataclass(frozen=True)
class Results:
    """All arms, and what is best in each column.

    Args:
        columns: In order.
        arms: In order; arms without a finished run are left out.
    """

    columns: tuple[Column, ...]
    arms: tuple[Arm, ...]

    def rank(self, arm: Arm, column: Column) -> Literal["best", "tied", ""]:
        """Best of the pruned arms of the same tasks and density, or not told apart from it over the common seeds."""
        rivals = [
            a for a in self.arms if not a.dense and a.tasks == arm.tasks and a.density == arm.density and a.values.get(column)
        ]  # fmt: skip
        if arm.dense or arm not in rivals or len(rivals) < 2 or not column.better:
            return ""
        sign = 1 if column.better == "higher" else -1
        means = {id(a): sign * stat(a.values[column].values()).mean for a in rivals}
        known = [a for a in rivals if math.isfinite(means[id(a)])]
        if arm not in known:
            return ""
        best = max(known, key=lambda a: means[id(a)])
        if arm is best:
            return "best"
        alike = len(arm.seeds) > 1 and not differs(arm.values[column], best.values[column])
        return "tied" if alike else ""


def collect(cells: Sequence[Cell], out: Path) -> Results:
    """Figures of the cells that are finished, seed by seed.

    ΔT is against the dense run of the same tasks and seed and, where every task has a dense network of its own, against
    those. Their figures together make an arm called ``single-task``.
    """
    found = {cell.name: RunFolder(out / cell.name).read_report() for cell in cells}
    done = [(cell, report) for cell in cells if (report := found[cell.name]) is not None]
    dense: Known = {(cell.tasks, cell.seed): report for cell, report in reversed(done) if cell.dense}
    single: Known = {
        (cell.tasks, cell.seed): _together([dense[(task,), cell.seed] for task in cell.tasks])
        for cell, _ in done
        if len(cell.tasks) > 1 and all(((task,), cell.seed) in dense for task in cell.tasks)
    }
    pruned = {cell.tasks for cell in cells if not cell.dense}
    most = max((len(cell.tasks) for cell in cells), default=0)
    arms: dict[tuple[str, float | None, tuple[str, ...]], Arm] = {}

    def add(recipe: str, density: float | None, tasks: tuple[str, ...], seed: int, report: Report) -> None:
        arm = arms.setdefault((recipe, density, tasks), Arm(recipe, density, tasks, report["dense"], {}))
        figures = _figures(report, dense.get((tasks, seed)), single.get((tasks, seed)))
        for column, value in figures.items():
            arm.values.setdefault(column, {})[seed] = value

    for (tasks, seed), report in single.items():
        add("single-task", None, tasks, seed, report)
    for cell, report in done:
        if len(cell.tasks) == most or cell.tasks in pruned:
            add(cell.recipe, cell.density, cell.tasks, cell.seed, report)
    ordered = sorted(
        arms.values(), key=lambda arm: (-len(arm.tasks), arm.tasks, not arm.dense, -(arm.density or 2))
    )
    columns = dict.fromkeys(column for arm in ordered for column in arm.values)
    return Results(tuple(sorted(columns, key=lambda column: _PLACES.index(_place(column)))), tuple(ordered))


_PLACES = ("ΔT", "task", "density", "cost")


def _place(column: Column) -> str:
    return column.group if column.group in _PLACES else "task"


def _figures(report: Report, dense: Report | None, single: Report | None) -> dict[Column, float]:
    better = report["higher_is_better"]
    found: dict[Column, float] = {}
    if dense is not None:
        for reduce in ("mean", "sum"):
            found[Column("ΔT", reduce, "higher", "points")] = _delta(report, dense, reduce).get("", math.nan)
        by_task = _delta(report, dense, "mean")
        for task in report["tasks"]:
            found[Column("ΔT", task, "higher", "points")] = by_task.get(task, math.nan)
    if single is not None:
        found[Column("ΔT", "to single-task", "higher", "points")] = _delta(report, single, "mean").get(
            "", math.nan
        )
    for task, metrics in report["tasks"].items():
        for metric, value in metrics.items():
            direction: Better = "higher" if better[task][metric] else "lower"
            found[Column(task, metric, direction)] = math.nan if value is None else value
    found[Column("density", "overall", "", "percent")] = report["density"]["overall"]
    for component, kept in report["density"]["components"].items():
        found[Column("density", component, "", "percent")] = kept
    found[Column("cost", "parameters", "", "count")] = report["params"]["nonzero"]
    found[Column("cost", "MACs", "", "count")] = report["macs"]["sparse"]
    found[Column("cost", "steps", "", "count")] = report.get(
        "steps_in_all", report["steps"] * report.get("rounds", 1)
    )
    if dense is not None and dense["train_seconds"]:
        found[Column("cost", "training time", "", "ratio")] = report["train_seconds"] / dense["train_seconds"]
    return found


def _delta(report: Report, reference: Report, reduce: Literal["mean", "sum"]) -> dict[str, float]:
    """Task to ΔT in percent, and the overall figure under ""; empty where it has no meaning."""
    if any(not value for metrics in reference["tasks"].values() for value in metrics.values()):
        return {}  # the reference scores nothing, or nan, somewhere
    if any(value is None for metrics in report["tasks"].values() for value in metrics.values()):
        return {}
    made = delta_t(report["tasks"], reference["tasks"], report["higher_is_better"], reduce)
    return {"": made.overall, **made.tasks}


def _together(reports: Sequence[Report]) -> Report:
    """Networks for one task each as if they were one: their tasks side by side, their sizes and times added up."""
    first = reports[0]
    return {
        "dense": True,
        "tasks": {task: metrics for report in reports for task, metrics in report["tasks"].items()},
        "higher_is_better": {t: m for report in reports for t, m in report["higher_is_better"].items()},
        "density": {"overall": 1.0, "components": {}},
        "params": {"nonzero": sum(report["params"]["nonzero"] for report in reports)},
        "macs": {"sparse": sum(report["macs"]["sparse"] for report in reports)},
        "steps": sum(report["steps"] for report in reports),
        "train_seconds": sum(report["train_seconds"] for report in reports),
        "seed": first["seed"],
    }


def panels(columns: Sequence[Column], most: int) -> list[list[tuple[str, list[Column]]]]:
    """Columns by group, in as many tables one below the other as it takes for none to have more than ``most`` columns."""
    made: list[list[tuple[str, list[Column]]]] = []
    room = 0
    for group in dict.fromkeys(column.group for column in columns):
        own = [column for column in columns if column.group == group]
        for part in [own[i : i + most] for i in range(0, len(own), most)]:
            if len(part) > room:
                made.append([])
                room = most
            made[-1].append((group, part))
            room -= len(part)
    return made
