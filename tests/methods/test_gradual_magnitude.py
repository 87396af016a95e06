"""Gradual magnitude pruning: the last pruning always happens, and no layer dies on the way."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from problems import two_heads
from secateur import GradualMagnitude, fit
from secateur.problem.components import prunable
from secateur.problem.problem import Problem
from secateur.runs.config import build, parse, resolved


def counts(problem: Problem) -> dict[str, int]:
    return {name: int(p.count_nonzero()) for name, p in prunable(problem.model).items()}


def size(problem: Problem) -> int:
    return sum(p.numel() for p in prunable(problem.model).values())


def test_the_packaged_two_of_four_prunes() -> None:
    """The density asked is the most that 2:4 can have, so that the ramp never falls below it."""
    problem = two_heads()
    method = build("method", resolved(parse(["magnitude_2_4"])))
    assert method.density == 0.5
    fit(problem, method, steps=30)
    assert sum(counts(problem).values()) == round(0.5 * size(problem))
    for p in prunable(problem.model).values():
        mask = F.pad((p != 0).movedim(1, -1).float(), (0, -p.shape[1] % 4)).unflatten(-1, (-1, 4))
        assert float(mask.sum(-1).max()) <= 2


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 30])
def test_the_last_pruning_is_exact_wherever_the_ramp_ends(steps: int) -> None:
    problem = two_heads(width=40)
    fit(problem, GradualMagnitude(0.1), steps=steps)
    assert sum(counts(problem).values()) == round(0.1 * size(problem))


def test_no_layer_dies_unless_it_may() -> None:
    guarded, published = two_heads(width=40), two_heads(width=40)
    with torch.no_grad():
        for problem in (guarded, published):
            problem.model.trunk[4].weight.mul_(1e-3)
    fit(guarded, GradualMagnitude(0.02), steps=40)
    fit(published, GradualMagnitude(0.02, at_least=0), steps=40)
    assert min(counts(guarded).values()) >= 1
    assert min(counts(published).values()) == 0
    assert sum(counts(guarded).values()) == sum(counts(published).values()) == round(0.02 * size(guarded))
