"""Passes over training batches that leave no trace: losses and gradients to judge weights by."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]

from secateur.problem import (
    Batch,
    Problem,
    check_count,
    length,
    preserved_buffers,
    preserved_modes,
    preserved_rng,
    task_losses,
    to_device,
    undivided,
    undrawn,
)

_MANY = 1000  # batches without a label that are looked through where nobody knows how long an epoch is


def check_slopes(problem: Problem, batches: int = 8) -> None:
    """Looks for a task whose loss moves none of its predictions; one forward pass where all is well.

    Args:
        problem: Its model is left as it was, and so is the random state.
        batches: Training batches at most; it ends as soon as every task has shown a gradient.

    Raises:
        ValueError: If there is a task with labels in these batches and a gradient of zero everywhere.
    """
    moved = dict[str, bool]()
    for found, predictions in losses(problem, batches):
        for task, loss in found.items():
            end = predictions[task]
            if end.requires_grad and not moved.get(task):
                slope = None
                if loss.requires_grad:
                    (slope,) = torch.autograd.grad(loss, [end], retain_graph=True, allow_unused=True)
                moved[task] = slope is not None and bool(slope.any())
        if set(moved) == set(problem.tasks) and all(moved.values()):
            return
        if not moved:  # nothing here could be moved
            return
    check_moved(moved, batches)


def check_moved(moved: Mapping[str, bool], batches: int) -> None:
    """Raises ValueError naming the tasks whose gradient was nowhere but zero.

    Args:
        moved: Task to whether a gradient of its own was seen.
        batches: Training batches that were looked at.
    """
    dead = [task for task, alive in moved.items() if not alive]
    if dead:
        raise ValueError(
            f"The gradient of task {', '.join(map(repr, dead))} is zero everywhere in the first {batches} training batches, so no "
            "weight is worth anything to it; look at its loss and at its labels, or score on more batches."
        )


def losses(
    problem: Problem, batches: int, first: int = 0
) -> Generator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Losses and predictions of training batches, with modes as in training but dropout off; weights, buffers and random state are as before.

    A loss that is NaN or infinite is left out, as one without labels is.
    """
    check_count("batches", batches, remedy="a score needs at least 1")
    device = next(p.device for p in problem.model.parameters())
    whole = undivided(problem.loader())  # of several processes each looks at what a single one would
    untouched = undrawn(problem.loader())  # the epoch under way, and the next, are drawn as without this pass
    with preserved_rng(), untouched, _undisturbed(problem.model), whole, torch.enable_grad():
        looked, many = 0, batches + (length(problem.loader()) or _MANY)
        for x, targets in islice(_batches(problem, first), many):
            if looked == batches:
                return
            x, targets = to_device(x, device), to_device(targets, device)
            predictions = problem.predict(x, targets) if targets else {}
            found = task_losses(predictions, targets, problem.tasks)
            found = {task: loss for task, loss in found.items() if bool(loss.isfinite())}
            if found:  # else there is nothing to judge by
                looked += 1
                yield found, {task: predictions[task] for task in found}


def _batches(problem: Problem, first: int) -> Iterator[Batch]:
    loader = problem.loader()
    if hasattr(loader, "from_step"):
        return map(problem.batch, cast(Any, loader).from_step(first))
    start = first % max(1, length(loader) or 1)
    return map(problem.batch, islice(iter(loader), start, None))


@contextmanager
def _undisturbed(model: nn.Module) -> Generator[None]:
    """Training's modes without dropout: within a model in train mode, frozen BatchNorm stays frozen; buffers get their values back."""
    with preserved_modes(model), preserved_buffers(model):
        frozen = {module for module in model.modules() if model.training and not module.training}
        for module in model.modules():
            module.training = module not in frozen and not isinstance(module, _DropoutNd)
        yield


def check_finite(found: Mapping[str, Tensor], whose: str, batches: int) -> None:
    """Raises ValueError if a gradient is NaN or infinite, which would rank before all others.

    Args:
        found: Weight name to its gradient.
        whose: Of what, for the message.
        batches: Training batches that were looked at.
    """
    if wild := [name for name, g in found.items() if not bool(g.isfinite().all())]:
        raise ValueError(
            f"The gradient of {whose} by {', '.join(wild[:3])}{' and others' if wild[3:] else ''} is NaN or infinite in the first {batches} "
            "training batches, so that it ranks nothing; look for targets that give an infinite gradient, such as the root of a zero, and "
            "score in float32."
        )


def add(
    total: dict[str, Tensor],
    weights: Mapping[str, nn.Parameter],
    loss: Tensor,
    *,
    keep_graph: bool,
    absolute: bool = False,
    ends: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor | None]:
    """Adds the gradient of ``loss`` to ``total``, and returns that by ``ends``, which costs nothing more."""
    ends = ends or {}
    inputs = [*weights.values(), *ends.values()]
    if not inputs or not loss.requires_grad:  # of a task all of whose part of the network is frozen
        return dict.fromkeys(ends)
    grad = torch.autograd.grad(loss, inputs, retain_graph=keep_graph, allow_unused=True)
    found = cast(tuple[Tensor | None, ...], grad)
    for name, gradient in zip(weights, found, strict=False):
        if gradient is not None:
            total[name] += gradient.abs() if absolute else gradient
    return dict(zip(ends, found[len(weights) :], strict=True))
