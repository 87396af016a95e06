"""What a loss weighting is. The base class weighs all tasks equally."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor

from secateur.problem import Problem, check_arguments, frozen_tasks


class Weighting:
    """Turns the tasks' losses into their weights; this base class gives every task the weight 1.

    The training loop multiplies each loss by its weight and by ``Task.weight`` and adds them up. What weightings call a step is a
    batch: where several make a step of the optimizer (``accumulate``), there are as many times more. A task that trains nothing
    (see :func:`weighed`) is never asked about; it has the weight 1 in the record.
    """

    def __new__(cls, *given: Any, **settings: Any) -> Self:
        """Refuses misspelt words and numbers that are none."""
        if cls.__init__ is object.__init__ and (given or settings):
            raise TypeError(f"{cls.__name__}() takes no arguments, not {sorted(settings) or given}.")
        check_arguments(cls.__init__, cls.__name__, given, settings)
        return super().__new__(cls)

    def start(self, problem: Problem, steps: int) -> None:
        """Prepares for a round of ``steps`` batches; bad settings raise here."""

    def param_groups(self) -> list[dict[str, Any]]:
        """The weighting's own trainable parameters as optimizer groups."""
        return []

    def __call__(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
        """``{task: scalar loss} -> {task: weight}`` for the tasks of this batch that train something."""
        return dict.fromkeys(losses, 1.0)

    def penalty(self) -> Tensor | float:
        """A term added to the loss after the weights were asked for."""
        return 0.0

    def state_dict(self) -> dict[str, Any]:
        """All that resumption needs: tensors and plain values only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up :meth:`state_dict`, after ``start``."""


def weighed(problem: Problem) -> list[str]:
    """The tasks that a weighting is about: of a ``Task.weight`` above 0, and with a parameter that is trained; all where none is such."""
    whole = all(p.requires_grad for p in problem.model.parameters())
    frozen = set[str]() if whole else frozen_tasks(problem)
    return [t for t, task in problem.tasks.items() if task.weight > 0 and t not in frozen] or [*problem.tasks]
