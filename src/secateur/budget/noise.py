"""Floors that training itself breaks, whatever is pruned."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import nn

from secateur.problem import Problem
from secateur.shrinking import copied

_SHARE, _SEEDS = 0.05, 2  # of the steps; trainings


def check_noise(
    problem: Problem,
    floors: Mapping[str, float],
    steps: int,
    train: Callable[[Problem, int, int], None],
    lost: Callable[[Problem], Mapping[str, float]],
) -> dict[str, float]:
    """Trains copies of the dense network on for a twentieth of the steps, by two seeds, and warns of floors that these break.

    Args:
        problem: Its model is left as it was.
        floors: Task to the share that it may lose.
        steps: Of a pruning.
        train: Trains a problem for so many steps with a seed.
        lost: A problem to the share that each task lost.

    Returns:
        Task with a floor to the most that it lost.
    """
    if not floors or not steps:
        return {}
    few = max(1, round(_SHARE * steps))
    worst = dict.fromkeys(floors, 0.0)
    for seed in range(_SEEDS):
        model: nn.Module = copied(problem.model)
        trained = replace(problem, model=model)
        train(trained, few, seed)
        found = lost(trained)
        worst = {task: max(value, found[task]) for task, value in worst.items()}
    low = {task: value for task, value in worst.items() if value > floors[task]}
    if low:
        said = ", ".join(
            f"{task} loses up to {value:.2%} (at most {floors[task]:.2%})" for task, value in low.items()
        )
        warnings.warn(
            f"prune: floors below the noise of training: the dense network itself, trained on for {few} steps by this optimizer, breaks "
            f"them: {said}. Whether a pruned one holds them is luck; loosen these floors, lower the learning rate or give more "
            "validation samples.",
            stacklevel=2,
        )
    return worst
