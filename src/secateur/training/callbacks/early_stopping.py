"""Stopping when validations get no better (Prechelt 1998, Early Stopping - But When?)."""

from __future__ import annotations

import warnings
from typing import Any

from secateur.problem import check_count, is_number
from secateur.training.callbacks.callback import Callback
from secateur.training.callbacks.course import Course, Results
from secateur.training.callbacks.watched import Watched, check_name


class EarlyStopping(Callback):
    """Stops once ``patience`` validations in a row were no better than the best before them.

    It begins to look when the density asked is there for good: validations of a network that is still being pruned are of
    another network, and stopping there would leave the density undone.

    Args:
        metric: ``"task.metric"``, or ``"delta_t"``: ΔT against the training's reference, or else against the first validation.
        patience: Validations in a row that may be no better.
        min_delta: In units of the metric; what is better by no more than this is no better.

    Raises:
        ValueError: If a setting is out of range, or (in ``start``) there is no such metric.
    """

    validates = True

    def __init__(self, metric: str, patience: int = 5, min_delta: float = 0.0) -> None:
        self.metric = check_name(metric, "EarlyStopping")
        check_count("EarlyStopping: patience", patience, remedy="give at least 1 validation")
        if not is_number(min_delta) or min_delta < 0.0:
            raise ValueError(
                f"EarlyStopping: min_delta is {min_delta!r}; give 0 or more, in units of the metric."
            )
        self.patience, self.min_delta = patience, min_delta
        self._watched = Watched(metric, "EarlyStopping")
        self._best: float | None = None
        self._worse = 0

    def start(self, course: Course) -> None:
        """Looks up the metric."""
        self._watched.start(course)
        self._best, self._worse = None, 0
        if (there := course.total // course.validate_every) <= self.patience:
            warnings.warn(
                f"EarlyStopping: {there} validations in {course.total} steps never outlast a patience of {self.patience}; it will not stop. "
                "Give fewer steps between validations (validate_every).",
                stacklevel=2,
            )

    def validated(self, course: Course, metrics: Results) -> None:
        """Counts, and stops."""
        if not course.settled:
            return
        value = self._watched(metrics)
        if self._watched.improves(value, self._best, self.min_delta):
            self._best, self._worse = value, 0
            return
        self._worse += 1
        if self._worse >= self.patience and course.step < course.total:
            course.stop(
                f"{self.metric} was no number in {self._worse} validations"
                if self._best is None
                else f"{self.metric} was no better than {self._best:.6g} in {self._worse} validations"
            )

    def state_dict(self) -> dict[str, Any]:
        """The best so far, and how many were no better since."""
        return {"best": self._best, "worse": self._worse, "watched": self._watched.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes them up."""
        self._best, self._worse = state["best"], state["worse"]
        self._watched.load_state_dict(state["watched"])
