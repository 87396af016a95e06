"""What each group of channels is worth to each task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from secateur.problem import Problem
from secateur.pruning import Groups, check_slopes, losses

Score = Literal["taylor", "magnitude", "random"]


def task_worth(
    problem: Problem, groups: Groups, score: Score, batches: int, seed: int = 0
) -> dict[str, Tensor]:
    """Task to the worth of each group, (count,), as a share of the task's loss.

    ``"taylor"``: root mean square over batches of the change of the task's loss when the group is zero, to first order,
    Σ w·∂L/∂w over the group (Molchanov et al. 2019, arXiv 1906.10771, Eq. 8, of what reads a channel). ``"magnitude"``: the group's
    Euclidean norm, the same for every task. ``"random"``: what every score must beat.

    Args:
        problem: Its model is left as it was.
        groups: Of the model.
        score: Which.
        batches: Training batches to look at.
        seed: Of ``"random"``.

    Raises:
        ValueError: If a task has no label in these batches, gives scores that are not finite or all zero, or ``batches`` is below 1.
    """
    parameters = dict(problem.model.named_parameters())
    weights = {name: parameters[name] for name in groups.axis}
    if score != "taylor":
        found = (
            groups.norms({name: weight.detach() for name, weight in weights.items()}).double()
            if score == "magnitude"
            else torch.rand(groups.count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        )
        return dict.fromkeys(problem.tasks, found)
    total = {task: torch.zeros(groups.count, dtype=torch.float64) for task in problem.tasks}
    level, looked = dict.fromkeys(problem.tasks, 0.0), dict.fromkeys(problem.tasks, 0)
    for own, _ in losses(problem, batches):
        for task, loss in own.items():
            slopes = torch.autograd.grad(
                loss, list(weights.values()), retain_graph=True, allow_unused=True, materialize_grads=True
            )
            change = groups.gather(
                groups.along(name, (weight * slope).detach()).double()
                for (name, weight), slope in zip(weights.items(), slopes, strict=True)
            )
            total[task] += change.cpu().square()
            level[task] += abs(float(loss.detach()))
            looked[task] += 1
    missing = [task for task, count in looked.items() if not count]
    if missing:
        raise ValueError(
            f"prune: {', '.join(map(repr, missing))} has no label in {batches} training batches; give more batches."
        )
    for task, found in total.items():
        if not bool(found.isfinite().all()):
            raise ValueError(
                f"prune: the gradient of task {task!r} is not finite, so nothing can be scored by it; look at its loss (a square root or "
                "logarithm of 0?), or give score='magnitude'."
            )
    if not all(bool(found.any()) for found in total.values()):
        check_slopes(problem, batches)  # a task may well reach no group; one that moves nothing is a mistake
    if not any(bool(found.any()) for found in total.values()):
        raise ValueError(
            f"prune: no channel is worth anything to any task in {batches} training batches, as where the heads are zero; train the "
            "network first, or give score='magnitude'."
        )
    return {task: (total[task] / looked[task]).sqrt() / (level[task] / looked[task] or 1.0) for task in total}


def joined(
    worth: Mapping[str, Tensor], floors: Mapping[str, float] | None, weight: Mapping[str, float]
) -> Tensor:
    """The worth of each group to all tasks, (count,): a task counts the more, the less it may lose.

    Args:
        worth: Of :func:`task_worth`.
        floors: Task to the share that it may lose; one that is not named may lose as much as the most tolerant.
        weight: Task to a factor, such as of one that lost too much before.
    """
    allowed = dict.fromkeys(worth, max([*(floors or {}).values(), 1e-3])) | dict(floors or {})
    least = min(max(value, 1e-3) for value in allowed.values())
    parts = [
        found * weight.get(task, 1.0) * least / max(allowed[task], 1e-3) for task, found in worth.items()
    ]
    return torch.stack(parts).sum(0)
