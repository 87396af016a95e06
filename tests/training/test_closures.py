"""An optimizer's step that is given a closure, as Lightning's is, sees the same masked gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from problems import equal, two_heads, weights
from secateur import OneShot, Pruning, RigL, Sparsifier
from secateur.problem import Problem
from secateur.problem.rng import seed_all


def trained(method: Sparsifier, way: str) -> tuple[Problem, torch.optim.Optimizer]:
    problem = two_heads()
    batches = [*problem.train] * 3
    seed_all(0)
    with Pruning(problem, method, steps=len(batches)) as pruning:
        optimizer: Any = pruning.attach(torch.optim.AdamW(pruning.groups(), lr=1e-2))
        problem.model.train()
        for x, targets in batches:

            def closure(x: Any = x, targets: Any = targets) -> torch.Tensor:
                optimizer.zero_grad()
                loss = pruning.loss(problem.model(x), targets)
                loss.backward()
                return loss

            if way == "plain":
                closure()
                optimizer.step()
            elif way == "position":
                assert optimizer.step(closure) > 0
            else:
                assert optimizer.step(closure=closure) > 0
            pruning.step()
    return problem, optimizer


@pytest.mark.parametrize("way", ["position", "keyword"])
@pytest.mark.parametrize("make", [lambda: RigL(0.2, every=2), lambda: OneShot(0.2)])
def test_a_step_with_a_closure_is_the_same_step(make: Any, way: str) -> None:
    (plain, adam), (closed, other) = trained(make(), "plain"), trained(make(), way)
    assert equal(weights(plain), weights(closed))
    for p, q in zip(plain.model.parameters(), closed.model.parameters(), strict=True):
        assert torch.equal(adam.state[p]["exp_avg"], other.state[q]["exp_avg"])
