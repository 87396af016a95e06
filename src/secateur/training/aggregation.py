"""Conflicting gradients: an aggregator decides on what several tasks reach, each task on what it reaches alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

Aggregator = Callable[[Tensor], Tensor]
"""(tasks, elements) matrix of gradients, a row a task, to the (elements,) direction: any aggregator of TorchJD."""


def aggregated(
    losses: Sequence[Tensor],
    parameters: Sequence[Tensor],
    aggregator: Aggregator,
    reduce: Callable[[Tensor], Tensor] = lambda gradient: gradient,
) -> list[Tensor | None]:
    """Gradients of the parameters: the aggregator's where several losses reach, the sum (of one) elsewhere.

    Args:
        losses: Scalars, one a task; the graph is kept.
        parameters: To differentiate by.
        aggregator: Called once with the gradients of all that is shared.
        reduce: Averages a gradient over processes, before it is aggregated.

    Returns:
        A gradient for each parameter, None where no loss reaches.

    Raises:
        ValueError: If the aggregator returns another shape.
    """
    rows = [
        [None if g is None else reduce(g) for g in _gradients(loss, parameters)] for loss in losses
    ]  # (tasks, parameters)
    counts = [sum(row[i] is not None for row in rows) for i in range(len(parameters))]
    found = [_sum([row[i] for row in rows]) for i in range(len(parameters))]
    shared = [i for i, count in enumerate(counts) if count > 1]
    if not shared:
        return found
    matrix = torch.stack(
        [torch.cat([_dense(row[i], parameters[i]).flatten() for i in shared]) for row in rows]
    )  # (tasks, elements)
    direction = aggregator(matrix)
    if direction.shape != matrix.shape[1:]:
        raise ValueError(
            f"aggregator: it returned {tuple(direction.shape)} for a matrix of {tuple(matrix.shape)}; it must return one value for "
            "each column."
        )
    for i, part in zip(shared, direction.split([parameters[i].numel() for i in shared]), strict=True):
        found[i] = part.view_as(parameters[i]).to(parameters[i].dtype)
    return found


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> Sequence[Tensor | None]:
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return cast(tuple[Tensor | None, ...], found)


def _sum(gradients: Sequence[Tensor | None]) -> Tensor | None:
    present = [gradient for gradient in gradients if gradient is not None]
    return torch.stack(present).sum(0) if present else None


def _dense(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if gradient is None else gradient
