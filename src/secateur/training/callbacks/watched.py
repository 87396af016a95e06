"""One number of each validation, by its name: a metric of a task, or ΔT over all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from secateur.measures import delta_t, higher_is_better
from secateur.problem import RemediedError, Task
from secateur.training.callbacks.course import Course, Results

DELTA = "delta_t"


class Watched:
    """Looks up ``"depth.rel"``, ``"depth"`` where the task has one metric alone, or ``"delta_t"``.

    ΔT is against the reference of the training, or else against the first validation: then it says what got better since, each metric
    in relation to what it was. Metrics that are zero or NaN in the reference, to which there is no relation, are left out.

    Args:
        name: Of the number.
        asker: Who looks, for errors.
    """

    def __init__(self, name: str, asker: str) -> None:
        self.name, self._asker = name, asker
        self._reference: Results | None = None
        self._better: dict[str, dict[str, bool]] = {}
        self._place = ("", "")

    def start(self, course: Course) -> None:
        """Raises ValueError, naming the metrics there are, if there is none of this name."""
        tasks = course.problem.tasks
        known = names(tasks)
        if self.name not in known:
            near = get_close_matches(str(self.name), known, n=1)
            there = f"there are {', '.join(known)}" if known else "the tasks have no metrics"
            raise ValueError(
                f"{self._asker}: no metric {self.name!r}; {there}.{f' Did you mean {near[0]}?' if near else ''}"
            )
        self._place = known[self.name]
        task, metric = self._place
        if self.name == DELTA:
            self._better = higher_is_better(tasks)
        else:
            spec = tasks[task]
            self._better = higher_is_better({task: Task(spec.loss, {metric: spec.metrics[metric]})})
        self._reference = course.reference if self.name == DELTA else None
        if self._reference is not None and not self._held(self._reference):
            raise RemediedError(
                f"{self._asker}: the reference has no metric of these tasks that is neither zero nor NaN;",
                "give what evaluate(dense, 'val') found.",
                "look at a metric of a task, or train the dense run longer.",
            )

    @property
    def higher_is_better(self) -> bool:
        """The direction."""
        return self.name == DELTA or self._better[self._place[0]][self._place[1]]

    def __call__(self, metrics: Results) -> float:
        """The number; nan where it has no meaning."""
        if self.name != DELTA:
            return metrics[self._place[0]][self._place[1]]
        held = self._held(self._reference or metrics)
        if self._reference is None and held:
            self._reference = {task: dict(found) for task, found in metrics.items()}
        same = {task: {m: metrics[task][m] for m in found} for task, found in held.items()}
        return delta_t(same, held, self._better_of(held)).overall if held else math.nan

    def improves(self, value: float, best: float | None, by: float = 0.0) -> bool:
        """Whether ``value`` is better than ``best``, by more than ``by``; nan never is, anything is better than None."""
        if math.isnan(value):
            return False
        return best is None or (value - best > by if self.higher_is_better else best - value > by)

    def _held(self, metrics: Results) -> dict[str, dict[str, float]]:
        """Those of the tasks that something can be set in relation to."""
        found = {
            task: {m: v for m, v in own.items() if m in self._better.get(task, ()) and v and math.isfinite(v)}
            for task, own in metrics.items()
        }
        return {task: own for task, own in found.items() if own}

    def _better_of(self, held: Results) -> dict[str, dict[str, bool]]:
        return {task: {m: self._better[task][m] for m in found} for task, found in held.items()}

    def state_dict(self) -> dict[str, Any]:
        """What ΔT is against, as ``{task: {metric: value}}``; None where it is not known yet."""
        held = self._reference
        return {"reference": None if held is None else {t: dict(m) for t, m in held.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes it up."""
        self._reference = state["reference"]


def names(tasks: Mapping[str, Task]) -> dict[str, tuple[str, str]]:
    """Every name of a number to the task and the metric that it is of."""
    found = {f"{task}.{metric}": (task, metric) for task, spec in tasks.items() for metric in spec.metrics}
    alone = {task: (task, next(iter(spec.metrics))) for task, spec in tasks.items() if len(spec.metrics) == 1}
    return {**found, **alone, **({DELTA: ("", "")} if found else {})}


def check_name(name: Any, asker: str) -> str:
    """Returns ``name`` if it can be the name of a number; ValueError otherwise."""
    if not isinstance(name, str) or not name:
        raise ValueError(
            f"{asker}: metric is {name!r}; give task and metric, such as 'depth.rel', or 'delta_t'."
        )
    return name
