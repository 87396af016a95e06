"""What a weight is worth: pure functions of weights and gradients, and how the gradients are gathered."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]

from secateur.problem import Problem, predict, to_device
from secateur.rng import preserved_rng

Scores = dict[str, Tensor]
"""Weight name to a tensor of its shape; larger survives."""


def magnitude(weights: Mapping[str, Tensor]) -> Scores:
    """|w|."""
    return {name: w.detach().abs() for name, w in weights.items()}


def random(weights: Mapping[str, Tensor], seed: int = 0) -> Scores:
    """Uniform in [0, 1), drawn on the CPU, so that every device prunes the same weights."""
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.rand(w.shape, generator=draw).to(w.device) for name, w in weights.items()}


def saliency(weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> Scores:
    """|g·w| (SNIP, Lee et al. 2019, Eq. 5 without the constant that normalises it)."""
    return {name: (gradients[name] * w.detach()).abs() for name, w in weights.items()}


def taylor(weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> Scores:
    """(g·w)², the squared change of the loss to first order (Molchanov et al. 2019, Eq. 8)."""
    return {name: (gradients[name] * w.detach()).square() for name, w in weights.items()}


def gradients(problem: Problem, weights: Mapping[str, nn.Parameter], batches: int = 1) -> Scores:
    """Mean over batches of the gradient of the sum of all losses, each with its ``Task.weight``.

    Args:
        problem: Its model is left as it was, and so is the random state.
        weights: What to differentiate by.
        batches: How many of the first training batches.
    """
    total = {name: torch.zeros_like(w, memory_format=torch.preserve_format) for name, w in weights.items()}
    for losses in _losses(problem, batches):
        loss = torch.stack([problem.tasks[task].weight * value for task, value in losses.items()]).sum()
        _add(total, weights, loss, keep_graph=False)
    return {name: value / batches for name, value in total.items()}


def task_gradients(
    problem: Problem, weights: Mapping[str, nn.Parameter], batches: int = 1, *, absolute: bool = False
) -> dict[str, Scores]:
    """Each task's own gradients, unweighted: the forward pass is shared, the backward passes are not.

    Args:
        problem: Its model is left as it was, and so is the random state.
        weights: What to differentiate by.
        batches: How many of the first training batches; a task counts those that have its labels.
        absolute: Mean of |g| over batches instead of the mean of g.

    Returns:
        Task to the gradients of the weights that it owns.

    Raises:
        ValueError: If a task has no labels in these batches, or a gradient that is zero everywhere.
    """
    owned = {t: {n: w for n, w in weights.items() if t in problem.owners[n]} for t in problem.tasks}
    total = {t: {n: torch.zeros_like(w) for n, w in own.items()} for t, own in owned.items()}
    seen = dict.fromkeys(problem.tasks, 0)
    for losses in _losses(problem, batches):
        for left, (task, loss) in zip(reversed(range(len(losses))), losses.items(), strict=True):
            _add(total[task], owned[task], loss, keep_graph=left > 0, absolute=absolute)
            seen[task] += 1
    for task, found in total.items():
        if not seen[task]:
            raise ValueError(
                f"The first {batches} training batches have no label of task {task!r}; score on more batches."
            )
        if found and not any(bool(g.any()) for g in found.values()):
            raise ValueError(
                f"The gradient of task {task!r} is zero everywhere, so no weight is worth anything to it; look at its loss "
                "and at its labels."
            )
    return {t: {n: g / seen[t] for n, g in found.items()} for t, found in total.items()}


@contextmanager
def redrawn(weights: Mapping[str, nn.Parameter], seed: int = 0) -> Generator[None]:
    """Inside, the weights are drawn anew, Xavier-normal, so that a score does not hang on their initial scale."""
    kept = {name: w.detach().clone() for name, w in weights.items()}
    draw = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            for w in weights.values():
                w.copy_(nn.init.xavier_normal_(torch.empty(w.shape), generator=draw))
        yield
    finally:
        with torch.no_grad():
            for name, w in weights.items():
                w.copy_(kept[name])


def _losses(problem: Problem, batches: int) -> Generator[dict[str, Tensor]]:
    """Losses of the first training batches, with BatchNorm as in training, dropout off and nothing changed after."""
    if batches < 1:
        raise ValueError(f"batches is {batches}; a score needs at least 1.")
    device = next(p.device for p in problem.model.parameters())
    count = 0
    with preserved_rng(), _undisturbed(problem.model), torch.enable_grad():
        for x, targets in islice(iter(problem.train), batches):
            x, targets = to_device(x, device), to_device(targets, device)
            predictions = predict(problem.model, x, targets, problem.tasks)
            yield {task: problem.tasks[task].loss(p, targets[task]) for task, p in predictions.items()}
            count += 1
    if count < batches:
        raise ValueError(f"batches is {batches}, but the training loader has only {count}; score on fewer.")


@contextmanager
def _undisturbed(model: nn.Module) -> Generator[None]:
    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    for module in model.modules():
        module.training = not isinstance(module, _DropoutNd)
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])


def _add(
    total: Scores,
    weights: Mapping[str, nn.Parameter],
    loss: Tensor,
    *,
    keep_graph: bool,
    absolute: bool = False,
) -> None:
    grad = torch.autograd.grad(loss, list(weights.values()), retain_graph=keep_graph, allow_unused=True)
    found = cast(tuple[Tensor | None, ...], grad)
    for name, gradient in zip(weights, found, strict=True):
        if gradient is not None:
            total[name] += gradient.abs() if absolute else gradient
