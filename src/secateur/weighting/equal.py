"""Weights that do not change."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from secateur.problem import Problem, check_factor
from secateur.weighting.weighting import Weighting


class Equal(Weighting):
    """Every task weighs 1."""


class Fixed(Weighting):
    """Weights set by hand.

    Args:
        weights: Task to its weight; tasks left out weigh 1.

    Raises:
        ValueError: If a weight is negative or not finite.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        for task, weight in weights.items():
            check_factor(f"Fixed: the weight of {task!r}", weight)
        self.weights = dict(weights)

    def start(self, problem: Problem, steps: int) -> None:
        """Checks the task names."""
        unknown = sorted(set(self.weights) - set(problem.tasks))
        if unknown:
            raise ValueError(f"Fixed: weights name {unknown}, but the tasks are {sorted(problem.tasks)}.")

    def __call__(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
        """The weights as given."""
        return {task: self.weights.get(task, 1.0) for task in losses}
