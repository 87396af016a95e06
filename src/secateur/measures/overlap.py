"""Where the tasks agree: which of the weights that they share each of them would keep."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor

from secateur.problem import Problem, prunable
from secateur.pruning import Scores, check_density, check_worth, task_scores, top_masks

Pair = tuple[str, str]

_REMEDY = "Does the task still predict anything (secateur.evaluate names dead ones)? If so, give more batches, or ones with its labels."


@dataclass(frozen=True)
class Agreement:
    """Of some weights that several tasks share.

    Args:
        weights: How many.
        wanted: Task to the share of them that it would keep.
        overlap: Two tasks to the intersection over the union of what they would keep, NaN where neither keeps any.
        needed_by: Tasks to the number of weights that exactly they would keep; the empty tuple: nobody.
    """

    weights: int
    wanted: dict[str, float]
    overlap: dict[Pair, float]
    needed_by: dict[tuple[str, ...], int]

    def to_dict(self) -> dict[str, Any]:
        """As plain values; tasks are joined by ``+``."""
        return {
            "weights": self.weights,
            "wanted": self.wanted,
            "overlap": {
                "+".join(pair): value if value == value else None for pair, value in self.overlap.items()
            },
            "needed_by": {"+".join(tasks): count for tasks, count in self.needed_by.items()},
        }


@dataclass(frozen=True)
class Overlap:
    """The map of a model's shared weights.

    Args:
        density: What share of the weights that it owns each task would keep.
        chance: The overlap of two tasks that choose independently at that density.
        total: Over all shared weights.
        layers: The same for each layer, by the name of its weight.
    """

    density: float
    chance: float
    total: Agreement
    layers: dict[str, Agreement]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a file."""
        return {
            "density": self.density,
            "chance": self.chance,
            "total": self.total.to_dict(),
            "layers": {name: found.to_dict() for name, found in self.layers.items()},
        }


def overlap(
    problem: Problem,
    density: float = 0.1,
    *,
    score: Literal["snip", "magnitude", "taylor"] = "snip",
    batches: int = 4,
) -> Overlap:
    """Which of the shared weights each task would keep, had it to choose alone, and how far the tasks agree.

    Each task scores the weights that it owns by its own loss and keeps the best ``density`` of them, as in DiSparse
    (Sun et al. 2022); of a pruned network fewer, with a warning, where no more score above zero. The forward pass is shared; each task costs a backward pass.

    Args:
        problem: Its model is left as it was.
        density: Share that each task keeps, in (0, 1).
        score: ``"snip"``: |w|·Σ|g|; ``"taylor"``: w²·Σ|g|; ``"magnitude"``: |w|, the same for every task.
        batches: Training batches for the gradients.

    Raises:
        ValueError: If no weight is shared, a setting is out of range, or a task has no labels or no gradient.
    """
    if check_density(density) == 1.0:
        raise ValueError("density is 1; every task would keep everything. Give a share below 1, such as 0.1.")
    weights = prunable(problem.model)
    shared = [name for name in weights if len(problem.owners[name]) > 1]
    if not shared:
        raise ValueError("No weight serves more than one task, so there is nothing to agree on.")
    found = task_scores(problem, weights, score, batches)
    check_worth("overlap", found, _REMEDY)
    kept = {t: _kept(own, density) for t, own in found.items()}
    _check_enough(kept, density)
    layers = {name: _agreement({t: own[name] for t, own in kept.items() if name in own}) for name in shared}
    together = {t: torch.cat([own[n].flatten() for n in shared if n in own]) for t, own in kept.items()}
    owned_by_all = all(len(flat) == len(next(iter(together.values()))) for flat in together.values())
    total = _agreement(together) if owned_by_all else _summed(list(layers.values()), list(kept))
    return Overlap(density, density / (2 - density), total, layers)


def _kept(own: Scores, density: float) -> dict[str, Tensor]:
    """The best ``density`` of a task's weights that are worth anything; the order of the others is that of their places."""
    masks = top_masks(list(own.values()), _asked(own, density))
    return {name: mask & (own[name] > 0) for name, mask in zip(own, masks, strict=True)}


def _asked(own: Mapping[str, Tensor], density: float) -> int:
    return max(1, round(density * sum(score.numel() for score in own.values())))


def _check_enough(kept: Mapping[str, Mapping[str, Tensor]], density: float) -> None:
    """Warns of tasks to which fewer weights are worth anything than they were to keep."""
    short = {
        t: (sum(int(mask.sum()) for mask in own.values()), _asked(own, density)) for t, own in kept.items()
    }
    said = [f"{found} of {asked} for {t!r}" for t, (found, asked) in short.items() if found < asked]
    if said:
        warnings.warn(
            f"overlap: fewer weights are worth anything than density {density:g} asks ({', '.join(said)}): the others score zero, as "
            "pruned weights do, and count as kept by nobody. Give the density that the network has, or less.",
            stacklevel=3,
        )


def _agreement(kept: Mapping[str, Tensor]) -> Agreement:
    tasks = list(kept)
    code = torch.stack([mask.flatten().long() << place for place, mask in enumerate(kept.values())]).sum(0)
    counts = torch.bincount(code, minlength=2 ** len(tasks)).tolist()
    needed = {
        tuple(task for place, task in enumerate(tasks) if code >> place & 1): count
        for code, count in enumerate(counts)
        if count
    }
    return _from_counts(needed, tasks)


def _summed(parts: list[Agreement], tasks: list[str]) -> Agreement:
    """Layers that different tasks share, taken together."""
    needed: dict[tuple[str, ...], int] = {}
    for part in parts:
        for owners, count in part.needed_by.items():
            needed[owners] = needed.get(owners, 0) + count
    return _from_counts(needed, tasks)


def _from_counts(needed: dict[tuple[str, ...], int], tasks: list[str]) -> Agreement:
    size = sum(needed.values())

    def count(*among: str, every: bool = True) -> int:
        test = all if every else any
        return sum(n for owners, n in needed.items() if test(task in owners for task in among))

    pairs = {
        (a, b): count(a, b) / either if (either := count(a, b, every=False)) else float("nan")
        for a, b in combinations(tasks, 2)
    }
    ordered = dict(sorted(needed.items(), key=lambda item: (len(item[0]), item[0])))
    return Agreement(size, {task: count(task) / size for task in tasks}, pairs, ordered)
