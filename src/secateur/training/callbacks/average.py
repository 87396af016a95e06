"""A moving average of the weights, with the zeros that the weights have (Polyak and Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from secateur.problem import is_number, prunable
from secateur.pruning import is_effective
from secateur.storage import named_tensors, network_state, put_back
from secateur.training.callbacks.callback import Callback
from secateur.training.callbacks.course import Course


class EMA(Callback):
    """Validates, keeps and ends with the exponential moving average of weights and running statistics, w̄ ← d·w̄ + (1 − d)·w.

    The first step is taken as it is; while an average is young its decay is lower, min(decay, (1 + k)/(10 + k)) after k steps, so
    that short trainings are averaged too. What is pruned is zero in the average at once; what the method does to the weights outside of the optimizer is done
    to the average. A later round begins a new one. It is kept in single precision at least, since what a step adds is less than half precision tells.
    What ``get_extra_state`` gives is not averaged: it stays that of the last step.

    Args:
        decay: d, in [0, 1).

    Raises:
        ValueError: If ``decay`` is out of range.
    """

    single = True

    def __init__(self, decay: float = 0.999) -> None:
        if not is_number(decay) or not 0.0 <= decay < 1.0:
            raise ValueError(
                f"EMA: decay is {decay!r}; it lies in [0, 1): 0.999 looks back over some 1000 steps."
            )
        self.decay = decay
        self._average: dict[str, Tensor] = {}
        self._pruned = set[int]()
        self._count = 0

    @torch.no_grad()
    def start(self, course: Course) -> None:
        """Begins with the weights as they are."""
        model = course.problem.model
        self._average = {n: t.detach().to(_wide(t), copy=True) for n, t in named_tensors(model).items()}
        self._pruned = {id(weight) for weight in prunable(model).values()}  # also while some are frozen
        self._count = 0
        course.pruning.follow(self._average)

    @torch.no_grad()
    def after_step(self, course: Course, losses: object) -> None:
        """Takes the step in."""
        now = named_tensors(course.problem.model)
        if course.pruning.turns.between_rounds and course.step < course.total:
            self._count = 0  # the weights have been gone back to
        decay = min(self.decay, (1 + self._count) / (10 + self._count)) if self._count else 0.0
        self._count += 1
        for name, average in self._average.items():
            if average.is_floating_point() or average.is_complex():
                average.lerp_(now[name].detach().to(average.dtype), 1.0 - decay)
            else:
                average.copy_(now[name])

    @contextmanager
    def validating(self, course: Course) -> Generator[None]:
        """With the average in place of the weights."""
        kept = network_state(course.problem.model)
        self._put(course)
        try:
            yield
        finally:
            put_back(course.problem.model, kept)

    def finish(self, course: Course) -> None:
        """Leaves the average in the model."""
        self._put(course)

    def state_dict(self) -> dict[str, Any]:
        """The average, and how many steps are in it."""
        return {"average": self._average, "count": self._count}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes it up, in place, for the method knows these tensors."""
        self._count = state["count"]
        for name, average in self._average.items():
            average.copy_(state["average"][name])

    @torch.no_grad()
    def _put(self, course: Course) -> None:
        model = course.problem.model
        pruned = set[int]() if is_effective(model) else self._pruned  # thresholds make their zeros themselves
        for name, tensor in named_tensors(model).items():
            average = self._average[name]
            tensor.copy_(average * (tensor != 0) if id(tensor) in pruned else average)


def _wide(tensor: Tensor) -> torch.dtype:
    real = tensor.is_floating_point() or tensor.is_complex()
    return torch.promote_types(tensor.dtype, torch.float32) if real else tensor.dtype
