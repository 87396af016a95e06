"""What a search is after, and what it may not break: each a number of a finished run's validation figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from secateur.measures import delta_t
from secateur.runs.parser import nearest

Report = Mapping[str, Any]
Results = Mapping[str, Mapping[str, float]]
Direction = Literal["maximize", "minimize"]
_KNOWN: dict[str, Direction] = {
    "delta_t": "maximize",
    "time": "minimize",
    "density": "minimize",
    "parameters": "minimize",
    "macs": "minimize",
}


_FAR = 10.0
"""Times its own size that a metric of the dense run may be away from a trial's: farther, one of them was not learnt."""


@dataclass(frozen=True)
class Objective:
    """One number to be made large or small.

    Args:
        name: ``delta_t``, ``time``, ``density``, ``parameters``, ``macs``, or a task's metric such as ``seg.miou``.
        direction: Which is better.
    """

    name: str
    direction: Direction


def objectives(names: Sequence[str], better: Mapping[str, Mapping[str, bool]]) -> tuple[Objective, ...]:
    """The objectives called so.

    Args:
        names: One or more; the first decides between winners that are equally good.
        better: Task to metric to whether higher is better.

    Raises:
        ValueError: If there is no such objective, or none.
    """
    metrics: dict[str, Direction] = {
        f"{task}.{metric}": "maximize" if higher else "minimize"
        for task, found in better.items()
        for metric, higher in found.items()
    }
    known: dict[str, Direction] = {**_KNOWN, **metrics}
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"--objectives is {', '.join(names) or 'empty'}; name one or more, each once: {', '.join(known)}."
        )
    for name in names:
        if name not in known:
            raise ValueError(
                f"--objectives: no {name!r}; there are {', '.join(known)}.{nearest(name, known)}"
            )
    return tuple(Objective(name, known[name]) for name in names)


def values(asked: Sequence[Objective], report: Report, dense: Results, time: float | None) -> list[float]:
    """The objectives of one run.

    Args:
        asked: Which.
        report: Of the run; its figures on the validation split.
        dense: Task to metric to value, of the dense run on the validation split.
        time: Of the dense network's time, where it was measured.

    Raises:
        ValueError: If one has no value, as where a metric is not a number.
    """
    tasks = on_validation(report)
    found: dict[str, float | None] = {
        "density": report["density"]["overall"],
        "parameters": report["params"]["nonzero"],
        "macs": report["macs"]["sparse"],
        "time": time,
        **{f"{task}.{metric}": value for task, ms in tasks.items() for metric, value in ms.items()},
    }
    if any(objective.name == "delta_t" for objective in asked):
        found["delta_t"] = delta(tasks, dense, report["higher_is_better"])
    made = [(objective.name, found[objective.name]) for objective in asked]
    for name, value in made:
        if value is None or not math.isfinite(value):
            raise ValueError(f"{name} has no value on the validation split; the training went wrong.")
    return [float(value) for _, value in made if value is not None]


def on_validation(report: Report) -> Results:
    """A run's figures on the validation split.

    Raises:
        ValueError: If there are none, as of a run that was trained otherwise.
    """
    found = report.get("validation") or (report["tasks"] if report.get("split") == "val" else None)
    if found is None:
        raise ValueError(
            "its figures are of the test split, by which nothing is chosen; train it anew elsewhere."
        )
    return numbers(found)


def numbers(tasks: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float]]:
    """The figures of a report, in which None stands for what is not a number."""
    return {t: {m: math.nan if v is None else v for m, v in metrics.items()} for t, metrics in tasks.items()}


def delta(tasks: Results, dense: Results, better: Mapping[str, Mapping[str, bool]]) -> float | None:
    """ΔT in percent, None where a metric is not a number, or zero in the dense run: a difference to that has no meaning."""
    numbers = [v for task, metrics in tasks.items() for v in (*metrics.values(), *dense[task].values())]
    if not all(map(math.isfinite, numbers)) or not all(v for task in tasks for v in dense[task].values()):
        return None
    return delta_t(tasks, dense, better).overall


def meaningless(tasks: Results, dense: Results) -> str:
    """Why ΔT of these figures says nothing: a metric is not a number, zero in the dense run, or so far from it that no other counts; empty where it says something."""
    for task, metrics in tasks.items():
        for metric, value in metrics.items():
            held = dense[task][metric]
            if not (math.isfinite(value) and math.isfinite(held)):
                return f"{task} {metric} is not a number"
            if not held or abs(value - held) > _FAR * abs(held):
                return f"{task} {metric} is {held:.3g} in the dense run and {value:.3g} here, which drowns all other metrics"
    return ""


def lost(tasks: Results, dense: Results, better: Mapping[str, Mapping[str, bool]]) -> dict[str, float]:
    """Task to the mean share that its metrics are worse than dense; all of it where one is not a number."""
    return {
        task: 1.0
        if (found := delta({task: tasks[task]}, {task: dense[task]}, {task: better[task]})) is None
        else -found / 100
        for task in tasks
    }


def below(lost: Mapping[str, float], floors: Mapping[str, float]) -> dict[str, float]:
    """Task to how far below its floor it is: above zero where the floor is broken."""
    return {task: lost[task] - most for task, most in floors.items()}


def check_reference(dense: Results, tasks: Iterable[str], place: object) -> None:
    """Raises ValueError if the dense run scores nothing in one of these tasks, so that a difference to it has no meaning."""
    for task in tasks:
        if empty := [metric for metric, value in dense[task].items() if not value]:
            raise ValueError(
                f"{place}: the dense run's {task} {empty[0]} is {dense[task][empty[0]]} on the validation split, so differences to it mean "
                "nothing; train it for longer, or name other objectives and floors."
            )
