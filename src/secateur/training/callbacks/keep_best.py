"""The best state of a training in place of the last."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from secateur.pruning import Sparsifier
from secateur.storage import lasting_state, mismatches, named_tensors, network_state, put_back
from secateur.training.callbacks.callback import Callback
from secateur.training.callbacks.course import Course, Results
from secateur.training.callbacks.watched import Watched, check_name

_SLACK = 0.0005  # of the density: as exact as it is promised


class KeepBest(Callback):
    """Ends with the weights of the best validation, not with the last.

    Only a state that has the density asked is kept, in the method's last round and after its schedule: the best moment of a
    network that was still dense is none. Which states have it the method says (``course.settled``). Where a method is asked for no
    density, as ``GroupLasso(strength=...)``, a state counts that is no denser than what training ends with; dense training keeps the
    best of all. Where no state counts, the last stays, and a warning says so. Afterwards ``step`` and ``value`` say what was kept.

    Args:
        metric: ``"task.metric"``, or ``"delta_t"``: ΔT against the training's reference, or else against the first validation.

    Raises:
        ValueError: In ``start``, if there is no such metric.
    """

    single, validates, turn = True, True, 1  # after averages, whose weights it is to see and to replace

    def __init__(self, metric: str) -> None:
        self.metric = check_name(metric, "KeepBest")
        self._watched = Watched(metric, "KeepBest")
        self._forget()

    def start(self, course: Course) -> None:
        """Looks up the metric."""
        self._watched.start(course)
        self._course = course
        self._forget()

    @torch.no_grad()
    def validated(self, course: Course, metrics: Results) -> None:
        """Copies the state if it is the best so far; where zeros are counted, a state sparser than the best takes its place."""
        if not course.settled:
            return
        value, density = self._watched(metrics), _counted(course)
        denser, sparser = density > self._density + _SLACK, density < self._density - _SLACK
        if denser or not self._watched.improves(value, None if sparser else self.value):
            return
        self.step, self.value, self._density = course.step, value, density
        self._tensors = network_state(course.problem.model)
        self._method = _copied(course.pruning.method.state_dict())

    def finish(self, course: Course) -> None:
        """Puts the best state back."""
        if self.step is None or self._density > _counted(course) + _SLACK:
            where = "as sparse as that at the end" if _counts(course) else "that had come to what was asked"
            warnings.warn(
                f"KeepBest: no validation of {self.metric} found a number in a network {where}, so the last "
                "state stays. Validate more often (validate_every), or let the method come to its density earlier.",
                stacklevel=2,
            )
            self._forget()
            return
        with torch.no_grad():
            course.pruning.method.load_state_dict(self._method)
        put_back(course.problem.model, self._tensors)
        course.history.kept = self.step
        self._tensors, self._method = {}, {}

    def state_dict(self) -> dict[str, Any]:
        """The best state so far, and what it is of."""
        return {
            "step": self.step,
            "value": self.value,
            "density": None if self.step is None else self._density,
            "tensors": lasting_state(self._course.problem.model, self._tensors) or None,
            "method": self._method or None,
            "watched": self._watched.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes it up; ValueError if its tensors are not those of model and method."""
        if state["tensors"] is not None:
            model = self._course.problem.model
            tensors, mine = named_tensors(model), lasting_state(model, network_state(model))
            here = {"tensors": mine, "method": self._course.pruning.method.state_dict()}
            there = {name: state[name] or {} for name in here}
            if wrong := list(mismatches(here, there, tensors, "best")):
                raise ValueError(f"KeepBest: {'; '.join(wrong[:3])}")
        self.step, self.value = state["step"], state["value"]
        counted = state["density"] if _counts(self._course) else 0.0
        self._density = math.inf if self.step is None else counted
        self._tensors, self._method = state["tensors"] or {}, state["method"] or {}
        self._watched.load_state_dict(state["watched"])

    def _forget(self) -> None:
        self.step: int | None = None
        self.value: float | None = None
        self._density = math.inf  # of the best; 0 where zeros are not counted
        self._tensors: dict[str, Any] = {}
        self._method: dict[str, Any] = {}


def _counts(course: Course) -> bool:
    """Whether states are compared by their zeros: under a method that prunes and is asked for no density."""
    method = course.pruning.method
    return type(method) is not Sparsifier and getattr(method, "density", None) is None


def _counted(course: Course) -> float:
    return course.pruning.density().overall if _counts(course) else 0.0


def _copied(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(map(_copied, state))
    return state.detach().clone() if isinstance(state, Tensor) else state
