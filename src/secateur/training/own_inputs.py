"""A trunk that runs once for every task's own input computes its effective weights once."""

from __future__ import annotations

from typing import Any

from torch import nn

from secateur.problem import Problem, apart, preserved_rng
from secateur.pruning import close_values, is_effective, open_values


def computing_once(problem: Problem) -> list[Any]:
    """Hooks around the model's forward pass, where each task has an input of its own; none elsewhere.

    Returns:
        Their handles, to remove.
    """
    if not is_effective(problem.model):
        return []
    with preserved_rng():
        x, _ = next(problem.batches())
    if not apart(x, problem.tasks):
        return []

    def begin(model: nn.Module, _: Any) -> None:
        open_values(model)

    def end(model: nn.Module, _: Any, __: Any) -> None:
        close_values(model)

    return [
        problem.model.register_forward_pre_hook(begin),
        problem.model.register_forward_hook(end, always_call=True),
    ]
