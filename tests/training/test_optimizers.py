"""Several optimizers at once train as one, and what a method would not see is refused; a step with a closure is the same step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD, AdamW, Optimizer

from loops import STEPS, adamw, overall, own_loop
from problems import equal, two_heads, weights
from secateur import (
    Dense,
    GroupLasso,
    OneShot,
    Pruning,
    RigL,
    SoftThreshold,
    Sparsifier,
    UncertaintyWeighting,
    fit,
)
from secateur.problem import Problem
from secateur.problem.state import seed_all


def halves(groups: list[dict[str, Any]]) -> list[Optimizer]:
    """The first group in two, the others with the second."""
    (first, *rest) = groups
    half = len(first["params"]) // 2
    split = (
        [{**first, "params": first["params"][:half]}],
        [{**first, "params": first["params"][half:]}, *rest],
    )
    return [AdamW(part, lr=1e-2) for part in split]


@pytest.mark.parametrize(
    "method", [SoftThreshold(0.2), GroupLasso(density=0.5)], ids=["SoftThreshold", "GroupLasso"]
)
def test_two_halves_train_as_one(method: Any) -> None:
    one, two = two_heads(), two_heads()
    own_loop(one, type(method)(density=method.density), UncertaintyWeighting(), steps=STEPS)
    own_loop(two, method, UncertaintyWeighting(), steps=STEPS, make=halves)
    assert equal(weights(one), weights(two))
    assert overall(two) < 0.6


def test_a_stopped_fit_with_two_goes_on_bit_for_bit(tmp_path: Path) -> None:
    class StopError(Exception): ...

    def stop(rows: list[Any]) -> None:
        if rows[-1]["step"] >= 6:
            raise StopError

    def run(path: Path, **more: Any) -> dict[str, torch.Tensor]:
        problem = two_heads()
        fit(
            problem, SoftThreshold(0.3), steps=10, optimizer=halves, checkpoint=path, checkpoint_every=2, log_every=1,
            progress=False, **more,
        )  # fmt: skip
        return weights(problem)

    straight = run(tmp_path / "a.pt")
    with pytest.raises(StopError):
        run(tmp_path / "b.pt", on_log=stop)
    assert equal(straight, run(tmp_path / "b.pt"))


def test_a_checkpoint_of_two_is_not_one_of_one(tmp_path: Path) -> None:
    fit(two_heads(), Dense(), steps=2, optimizer=halves, checkpoint=tmp_path / "a.pt", progress=False)
    with pytest.raises(ValueError, match="optimizer is AdamW and AdamW there and AdamW here"):
        fit(two_heads(), Dense(), steps=2, optimizer=adamw, checkpoint=tmp_path / "a.pt", progress=False)


def test_what_two_optimizers_lack_or_share_is_named() -> None:
    problem = two_heads()
    heads, trunk = problem.model.colour.parameters(), list(problem.model.trunk.parameters())
    with Pruning(problem, SoftThreshold(0.2), steps=4) as pruning:
        for _ in range(2):  # one after another is no way to give two
            with pytest.raises(ValueError, match=r"lacks .*give all of them in one list"):
                pruning.attach(AdamW(trunk))
        with pytest.raises(ValueError, match=r"lacks parameters that training needs"):
            pruning.attach([AdamW(trunk), SGD(heads, lr=0.1)])
        with pytest.raises(ValueError, match=r"Two optimizers \(AdamW and SGD\) train one parameter"):
            pruning.attach([AdamW(trunk), SGD(trunk, lr=0.1)])
        with pytest.raises(ValueError, match="no optimizer with a parameter"):
            pruning.attach([])
        pruning.leave(early=True)


def test_one_of_several_is_not_stepped_alone() -> None:
    problem = two_heads()
    x, targets = next(iter(problem.train))
    with Pruning(problem, SoftThreshold(0.2), steps=4) as pruning:
        parts = halves(pruning.groups())
        pruning.attach(parts)
        pruning.loss(problem.model(x), targets).backward()
        with pytest.raises(RuntimeError, match=r"was stepped alone; step what pruning.attach"):
            parts[0].step()
        pruning.leave(early=True)
    parts[0].step()  # after it they are the user's own again


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
