"""From finished runs to the figures of a comparison: per arm, column and seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from secateur.measures import delta_t, differs, stat
from secateur.runs.folder import RunFolder
from secateur.runs.study.cells import Cell, reference_of
from secateur.runs.study.over import Settings
from secateur.runs.study.tables.columns import (
    COSTS,
    DELTA,
    DENSITY,
    TO_SINGLE,
    TOTAL,
    Better,
    Column,
    in_order,
    of_component,
    of_task,
)

Report = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but the seed; or one run for each task, taken together.

    Args:
        recipe: Or ``"single-task"``.
        density: Asked; None for none.
        tasks: Of its networks.
        dense: Nothing is pruned.
        values: Column to seed to figure.
        settings: Options that are swept, and their values.
        against: Those of its dense reference.
        runs: Seed to the folders of its runs, within the comparison's.
        config: Of its first run.
        reference: Of the dense run of that; empty where there is none, or it is that itself.
        dead: Seed to the tasks whose prediction is the same whatever the input.
        without: Seed to why it has no ΔT, where it has a dense run.
    """

    recipe: str
    density: float | None
    tasks: tuple[str, ...]
    dense: bool
    values: dict[Column, dict[int, float]]
    settings: Settings = ()
    against: Settings = ()
    runs: dict[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reference: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dead: dict[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    without: dict[int, str] = field(default_factory=dict[int, str])

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
        asked: The columns are those that were asked for, in that order.
        unfinished: Folders of the runs that are not there.
    """

    columns: tuple[Column, ...]
    arms: tuple[Arm, ...]
    asked: bool = False
    unfinished: tuple[str, ...] = ()

    def rank(self, arm: Arm, column: Column) -> Literal["best", "tied", ""]:
        """Best of the pruned arms of the same tasks, density and reference, or not told apart from it over the seeds.

        A network that is dead in a task is none of them, and an arm that lacks a seed of another neither.
        """
        level = (arm.tasks, arm.density, arm.against)
        rivals = [
            a
            for a in self.arms
            if not (a.dense or any(a.dead.values()))
            and (a.tasks, a.density, a.against) == level
            and a.values.get(column)
        ]
        if arm.dense or arm not in rivals or len(rivals) < 2 or not column.better:
            return ""
        sign = 1 if column.better == "higher" else -1
        known = whole(rivals, column)
        if arm not in known or len(known) < 2:
            return ""
        best = max(known, key=lambda a: sign * stat(a.values[column].values()).mean)
        if arm is best:
            return "best"
        alike = len(arm.seeds) > 1 and not differs(arm.values[column], best.values[column])
        return "tied" if alike else ""


def whole(arms: Sequence[Arm], column: Column) -> list[Arm]:
    """Those of the arms with a figure at every seed that any of them has one of, so that their means are over the same seeds."""
    known = [arm for arm in arms if math.isfinite(stat(arm.values.get(column, {}).values()).mean)]
    seeds = {seed for arm in known for seed in arm.values[column]}
    return [arm for arm in known if arm.values[column].keys() == seeds]


def collect(cells: Sequence[Cell], out: Path) -> Results:
    """Figures of the cells that are finished, seed by seed.

    ΔT is against the dense run of the same tasks and seed and, where every task has a dense network of its own, against
    those. Their figures together make an arm called ``single-task``.
    """
    found = {cell.name: RunFolder(out / cell.name).read_report() for cell in cells}
    done = [(cell, report) for cell in cells if (report := found[cell.name]) is not None]
    finished = [cell for cell, _ in done]
    references = {cell.name: reference_of(cell, finished) for cell in finished}
    alone = {cell.name: _alone(cell, finished) for cell in finished}
    pruned = {cell.tasks for cell in cells if not cell.dense}
    most = max((len(cell.tasks) for cell in cells), default=0)
    arms: dict[tuple[str, float | None, tuple[str, ...], Settings], Arm] = {}

    def add(cell: Cell, arm: Arm, report: Report, folders: Sequence[str]) -> None:
        arm = arms.setdefault((arm.recipe, arm.density, arm.tasks, arm.settings), arm)
        dense, single = references[cell.name], alone[cell.name]
        together = _together([_known(found, one) for one in single]) if single else None
        figures = _figures(report, None if dense is None else _known(found, dense), together)
        arm.runs[cell.seed] = tuple(folders)
        arm.dead[cell.seed] = tuple(report.get("dead") or ())
        if dense is not None and (why := _undefined(report, _known(found, dense))):
            arm.without[cell.seed] = why
        for column, value in figures.items():
            arm.values.setdefault(column, {})[cell.seed] = value

    for cell, report in done:
        dense, single = references[cell.name], alone[cell.name]
        planned = reference_of(cell, cells)  # so that rows stay together where a reference failed
        against = () if planned is None else planned.settings
        if single and (planned is cell or dense is None):
            together = _together([_known(found, one) for one in single])
            arm = Arm("single-task", None, cell.tasks, True, {}, against, against)
            add(cell, arm, together, [one.name for one in single])
        if len(cell.tasks) == most or cell.tasks in pruned or "data.tasks" in dict(cell.settings):
            reference = {} if planned is None or planned is cell else planned.config
            about = (cell.settings, against, dict[int, tuple[str, ...]](), cell.config, reference)
            arm = Arm(cell.recipe, cell.density, cell.tasks, cell.dense, {}, *about)
            add(cell, arm, report, [cell.name])
    order = list(dict.fromkeys([*(cell.settings for cell in cells if cell.dense), ()]))
    ordered = sorted(
        arms.values(),
        key=lambda arm: (
            -len(arm.tasks), arm.tasks, order.index(arm.against), not arm.dense, -(arm.density or 2)
        ),
    )  # fmt: skip
    columns = in_order(column for arm in ordered for column in arm.values)
    missing = tuple(name for name, report in found.items() if report is None)
    return Results(columns, tuple(ordered), unfinished=missing)


def _known(found: Mapping[str, Report | None], cell: Cell) -> Report:
    report = found[cell.name]
    assert report is not None
    return report


def _alone(cell: Cell, finished: Sequence[Cell]) -> list[Cell]:
    """A finished dense network for each task of a cell, of the same seed and settings; none where one is missing."""
    if len(cell.tasks) < 2:
        return []
    found = [reference_of(replace(cell, tasks=(task,)), finished) for task in cell.tasks]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else []


def _figures(report: Report, dense: Report | None, single: Report | None) -> dict[Column, float]:
    better = report["higher_is_better"]
    found: dict[Column, float] = {}
    if dense is not None:
        found[DELTA] = _delta(report, dense, "mean").get("", math.nan)
        found[TOTAL] = _delta(report, dense, "sum").get("", math.nan)
        by_task = _delta(report, dense, "mean")
        for task in report["tasks"]:
            found[of_task(task)] = by_task.get(task, math.nan)
    if single is not None:
        found[TO_SINGLE] = _delta(report, single, "mean").get("", math.nan)
    for task, metrics in report["tasks"].items():
        for metric, value in metrics.items():
            direction: Better = "higher" if better[task][metric] else "lower"
            found[Column(task, metric, direction)] = math.nan if value is None else value
    found[DENSITY] = report["density"]["overall"]
    for component, kept in report["density"]["components"].items():
        found[of_component(component)] = kept
    steps = report.get("steps_in_all", report["steps"] * report.get("rounds", 1))
    found |= dict(zip(COSTS, (report["params"]["nonzero"], report["macs"]["sparse"], steps), strict=False))
    if dense is not None and dense["train_seconds"]:
        found[COSTS[3]] = report["train_seconds"] / dense["train_seconds"]
    return found


def _undefined(report: Report, reference: Report) -> str:
    """Why ΔT has no meaning; empty where it has one."""
    for about, tasks in (("the dense run's", reference["tasks"]), ("its", report["tasks"])):
        for task, metrics in tasks.items():
            for metric, value in metrics.items():
                if value is None or (not value and tasks is reference["tasks"]):
                    return f"{about} {task} {metric} is {'not a number' if value is None else value}"
    return ""


def _delta(report: Report, reference: Report, reduce: Literal["mean", "sum"]) -> dict[str, float]:
    """Task to ΔT in percent, and the overall figure under ""; empty where it has no meaning."""
    if _undefined(report, reference):
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
