"""A user's own loop, as docs/own_loop.md writes it; beside it the trainers of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

import torch

from secateur import Pruning, components, density
from secateur.problem import Batch, Problem
from secateur.pruning import Sparsifier
from secateur.weighting import Weighting

STEPS = 30


def adamw(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=1e-2)


def endless(problem: Problem) -> Iterator[Batch]:
    return cycle(problem.train)  # the same batches in every epoch


def own_loop(
    problem: Problem,
    method: Sparsifier | None = None,
    weighting: Weighting | None = None,
    *,
    steps: int,
    make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer] = adamw,
    seed: int = 0,
    after: Callable[[Pruning], object] = lambda pruning: None,
) -> None:
    """Trains as ``fit`` does with a constant rate; gradients are thrown away before the step is ended."""
    torch.manual_seed(seed)
    problem.model.train()
    batches = endless(problem)
    with Pruning(problem, method, weighting, steps=steps) as pruning:
        while pruning.done < pruning.total:
            optimizer = pruning.attach(make(pruning.groups()))
            for x, targets in islice(batches, pruning.left):
                pruning.loss(problem.model(x), targets).backward()
                optimizer.step()
                optimizer.zero_grad()
                pruning.step()
                after(pruning)


def overall(problem: Problem) -> float:
    return density(problem.model, components(problem)).overall


def loop(pruning: Pruning, optimizer: torch.optim.Optimizer, steps: int = STEPS) -> Iterator[tuple]:
    """Batches, with everything but the loss done after each."""
    for batch in islice(endless(pruning.problem), steps):
        yield batch
        optimizer.step()
        optimizer.zero_grad()
        pruning.step()


def trained(pruning: Pruning, optimizer: torch.optim.Optimizer, steps: int = STEPS) -> None:
    """So many steps with the loss of Pruning."""
    for x, targets in loop(pruning, optimizer, steps):
        pruning.loss(pruning.problem.model(x), targets).backward()
