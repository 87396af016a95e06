"""What a weight is worth: pure functions of weights and gradients, and how the gradients are gathered."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from secateur.problem import Problem, averaged, check_choice, differentiable
from secateur.pruning.passes import add, check_finite, check_moved, losses

Score = Literal["snip", "magnitude", "taylor"]
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
    """(g·w)², the squared change of the loss to first order (Molchanov et al. 2019, Eq. 8; there it is averaged over batches, not g)."""
    return {name: (gradients[name] * w.detach()).square() for name, w in weights.items()}


def gradients(problem: Problem, weights: Mapping[str, nn.Parameter], batches: int = 1) -> Scores:
    """Mean over batches of the gradient of the sum of all losses, each with its ``Task.weight``; frozen weights have one too.

    Args:
        problem: Its model is left as it was, and so is the random state.
        weights: What to differentiate by.
        batches: How many of the first training batches, or all where there are fewer.

    Raises:
        ValueError: If the loss of a task with labels in these batches moves none of its predictions, nothing moves any
            weight, or a gradient is not finite.
    """
    total = {name: torch.zeros_like(w) for name, w in weights.items()}
    seen, moved = 0, dict[str, bool]()
    counted = {t for t, task in problem.tasks.items() if task.weight > 0} or {*problem.tasks}
    with differentiable(weights.values()):
        for found, predictions in losses(problem, batches):
            own = [problem.tasks[task].weight * value for task, value in found.items() if task in counted]
            if not own:
                continue
            loss = torch.stack(own).sum()
            ends = {
                task: p for task, p in predictions.items() if p.requires_grad and task in counted
            }  # a by-product of the same pass
            for task, slope in add(total, weights, loss, keep_graph=False, ends=ends).items():
                moved[task] = moved.get(task, False) or (slope is not None and bool(slope.any()))
            seen += 1
    total, (count,) = _of_all(total), _counts_of_all([seen], next(iter(weights.values())))
    if not count:
        raise ValueError(
            "The training batches have no valid label of any task; look at the targets and at what the losses leave out."
        )
    if not any(bool(value.any()) for value in total.values()):
        moved = dict.fromkeys(moved, False)
    check_moved(moved, batches)
    check_finite(total, "the loss", batches)
    return {name: value / count for name, value in total.items()}


def task_gradients(
    problem: Problem,
    weights: Mapping[str, nn.Parameter],
    batches: int = 1,
    *,
    absolute: bool = False,
    first: int = 0,
    strict: bool = True,
) -> dict[str, Scores]:
    """Each task's own gradients, unweighted: the forward pass is shared, the backward passes are not.

    Args:
        problem: Its model is left as it was, and so is the random state.
        weights: What to differentiate by.
        batches: How many training batches, or all where there are fewer; a task counts those that have its labels.
        absolute: Mean of |g| over batches instead of the mean of g.
        first: The batch to begin with, of a loader that knows ``from_step`` or has a length; others begin with the first.
        strict: Every task must have labels and a finite gradient; otherwise those without labels are left out, and what of a
            gradient is not finite is 0.

    Returns:
        Task to the gradients of the weights that it owns.

    Raises:
        ValueError: If a task has no labels in these batches, or a gradient that is zero everywhere or not finite.
    """
    owned = {t: {n: w for n, w in weights.items() if t in problem.owners[n]} for t in problem.tasks}
    total = {t: {n: torch.zeros_like(w) for n, w in own.items()} for t, own in owned.items()}
    seen = dict.fromkeys(problem.tasks, 0)
    with differentiable(weights.values()):
        for own, _ in losses(problem, batches, first):
            for left, (task, loss) in zip(reversed(range(len(own))), own.items(), strict=True):
                add(total[task], owned[task], loss, keep_graph=left > 0, absolute=absolute)
                seen[task] += 1
    total = {t: _of_all(found) for t, found in total.items()}
    counts = _counts_of_all(list(seen.values()), next(iter(weights.values())))
    seen = dict(zip(seen, counts, strict=True))
    for task, found in total.items() if strict else ():
        if not seen[task]:
            raise ValueError(
                f"The first {batches} training batches have no label of task {task!r}, or no finite loss of it; score on more batches."
            )
        check_finite(found, f"task {task!r}", batches)
        if found and not any(bool(g.any()) for g in found.values()):
            raise ValueError(
                f"The gradient of task {task!r} is zero everywhere, so no weight is worth anything to it; look at its loss "
                "and at its labels."
            )
    found = {t: {n: g / seen[t] for n, g in own.items()} for t, own in total.items() if seen[t]}
    return found if strict else {t: {n: _finite(g) for n, g in own.items()} for t, own in found.items()}


def _finite(gradient: Tensor) -> Tensor:
    return torch.where(gradient.isfinite(), gradient, 0.0)


def _of_all(found: Scores) -> Scores:
    """Averaged over processes: they see the same data, unless a loader splits them in a way that cannot be undone."""
    return {name: averaged(value) for name, value in found.items()}


def _counts_of_all(counts: Sequence[int], like: Tensor) -> list[float]:
    return averaged(torch.tensor(counts, dtype=torch.float32, device=like.device)).tolist()


def check_redraw(redraw: bool, score: str) -> None:
    """Raises ValueError if weights are to be drawn for a score without a gradient, which would say nothing of those that train."""
    if redraw and score not in ("snip", "taylor"):
        raise ValueError(
            f"redraw draws weights for scores by gradients, and score is {score!r}; leave redraw out, or choose 'snip' or 'taylor'."
        )


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


def task_scores(
    problem: Problem,
    weights: Mapping[str, nn.Parameter],
    score: Score,
    batches: int = 1,
) -> dict[str, Scores]:
    """What each task makes of the weights that it owns: |w|·Σ|g|, |w| or w²·Σ|g| (DiSparse, section 3).

    Σ|g| is over batches, divided by how many have the task's labels, which changes no order.

    Args:
        problem: Its model is left as it was.
        weights: What to score.
        score: Which of the three.
        batches: Training batches for the gradients.

    Raises:
        ValueError: If ``score`` is unknown, or as :func:`task_gradients`.
    """
    check_choice("score", score, Score)
    if score == "magnitude":
        return {
            t: magnitude({n: w for n, w in weights.items() if t in problem.owners[n]}) for t in problem.tasks
        }
    found = task_gradients(problem, weights, batches, absolute=True)
    power = 1 if score == "snip" else 2
    return {
        t: {n: g * weights[n].detach().abs() ** power for n, g in own.items()} for t, own in found.items()
    }


def unanimous(scores: Mapping[str, Scores], weights: Mapping[str, Tensor]) -> Scores:
    """DiSparse (Sun et al. 2022, arXiv 2206.04662): a weight goes only when all tasks that own it agree.

    Each task ranks the weights that it owns, best first; at a keep ratio ρ it wants those whose relative rank is at most
    ρ. A weight is kept if one of its owners wants it, that is, if the best of its ranks is at most ρ. So minus the best rank is a
    score of its own, and keeping a number of the highest is the keep ratio that comes to that number, exactly. What is worth
    nothing to a task, a score of zero, is last in its order, and none before another.

    Args:
        scores: Task to the scores of the weights that it owns; their scale does not matter.
        weights: All weights; what no task owns is worth least.
    """
    found = {
        name: torch.full(w.shape, -2.0, dtype=torch.float64, device=w.device) for name, w in weights.items()
    }
    for own in scores.values():
        if not own:
            continue
        flat = torch.cat([score.flatten() for score in own.values()])
        order = flat.argsort(descending=True, stable=True)
        rank = torch.empty(flat.shape, dtype=torch.float64, device=flat.device)
        rank[order] = (
            torch.arange(1, flat.numel() + 1, dtype=torch.float64, device=flat.device) / flat.numel()
        )
        rank[flat == 0] = 1.0
        for (name, score), part in zip(
            own.items(), rank.split([s.numel() for s in own.values()]), strict=True
        ):
            found[name] = torch.maximum(found[name], -part.view_as(score))
    return found
