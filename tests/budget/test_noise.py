"""Floors that the noise of training breaks are said before a network is pruned, with the number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch.nn.functional import l1_loss

import secateur
from problems import equal, two_heads, weights
from secateur import Budget, Problem, prune
from secateur.budget import BudgetError, record_of
from secateur.measures.metrics import MeanOf


def trained() -> Problem:
    """Judged on the data that it was trained on, and as good there as it gets."""
    problem = two_heads()
    metric = MeanOf(l1_loss, higher_is_better=False)
    tasks = {n: replace(t, metrics={"l1": metric} if n == "shade" else {}) for n, t in problem.tasks.items()}
    problem = replace(problem, tasks=tasks)
    secateur.fit(problem, steps=60, progress=False)
    return problem


HOW: dict[str, Any] = {"floors": {"shade": 0.9}, "rounds": 1, "batches": 2, "progress": False}


def test_a_floor_below_the_noise_is_said() -> None:
    problem = trained()
    before = weights(problem)
    said = r"trained on for 1 steps .* shade loses up to [0-9.]+% \(at most 90\.00%\)"
    with pytest.warns(UserWarning, match=said), pytest.raises(BudgetError, match="shade loses"):
        prune(problem, Budget(macs=0.9), steps=4, optimizer=secateur.adam(10.0), **HOW)
    assert equal(before, weights(problem))


def test_one_above_it_is_not() -> None:
    problem = trained()
    small = prune(problem, Budget(macs=0.9), steps=40, optimizer=secateur.adam(1e-5), **HOW)
    record = record_of(small)
    assert record is not None
    assert 0 <= record.noise["shade"] < 0.9
