"""Several optimizers at once train as one, and what a method would not see is refused; a step with a closure is the same step."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD, AdamW, Optimizer

from loops import STEPS, adamw, overall, own_loop, trained
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
    compact,
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


@pytest.mark.parametrize("make", [lambda: OneShot(0.2, at=0.5), lambda: GroupLasso(density=0.5)])
def test_what_a_part_of_several_loads_is_the_wholes(make: Any) -> None:
    """As where the parts of a dense training are gone on with, each from a file of its own."""

    def made(problem: Problem) -> list[Optimizer]:
        first, *others = problem.model.parameters()
        return [AdamW([first], lr=1e-2), AdamW(others, lr=1e-2)]

    dense, found = two_heads(), []
    with Pruning(dense, steps=3) as pruning:
        trained(pruning, pruning.attach(earlier := made(dense)), 3)
    for late in (False, True):
        problem = two_heads()
        parts = made(problem)
        seed_all(0)
        with Pruning(problem, make(), steps=12) as pruning:
            optimizer = pruning.attach(parts) if late else None
            for part, other in zip(parts, earlier, strict=True):
                part.load_state_dict(copy.deepcopy(other.state_dict()))
            optimizer = optimizer or pruning.attach(parts)
            rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(step < 8))
            for _ in range(12):
                trained(pruning, optimizer, 1)
                rate.step()
            assert [g["lr"] for part in parts for g in part.param_groups] == [0.0, 0.0]
        weight = problem.model.trunk[4].weight
        for moments in (optimizer.state[weight], parts[1].state[weight]):
            assert not any(moments[name][weight == 0].any() for name in ("exp_avg", "exp_avg_sq"))
        assert len(optimizer.state_dict()["state"]) == len(list(problem.model.parameters()))
        found.append(weights(problem))
    assert equal(*found)


class Counting:
    """A wrapper, such as that of accelerate, that steps the optimizer inside."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.count = optimizer, 0
        self.zero_grad = optimizer.zero_grad

    def step(self) -> None:
        self.optimizer.step()
        self.count += 1


@pytest.mark.parametrize("number", [1, 2])
def test_wrappers_in_a_list_are_stepped_themselves(number: int) -> None:
    problem = two_heads()
    with Pruning(problem, OneShot(0.2), steps=4) as pruning:
        made = halves(pruning.groups()) if number == 2 else [adamw(pruning.groups())]
        given = [Counting(part) for part in made]
        trained(pruning, pruning.attach(given), 4)  # pyright: ignore[reportArgumentType]
    assert [one.count for one in given] == [4] * number


def test_the_states_of_the_parts_are_their_own_and_together_the_wholes() -> None:
    problem, other = two_heads(), two_heads()
    with Pruning(problem, OneShot(0.2), steps=6) as pruning:
        parts = halves(pruning.groups())
        optimizer = pruning.attach(parts)
        trained(pruning, optimizer, 6)
        inside = [part.state_dict() for part in parts]
    for part, state in zip(parts, inside, strict=True):
        count = sum(len(group["params"]) for group in part.param_groups)
        assert sorted(state["state"]) == sorted(part.state_dict()["state"]) == list(range(count))
    whole = optimizer.state_dict()
    assert [*whole["state"]] == [*range(sum(len(state["state"]) for state in inside))]
    assert len(optimizer.state) == len([*optimizer.state]) == len(whole["state"])
    assert optimizer.state.get(torch.ones(1), "none") == optimizer.state.pop(torch.ones(1), "none") == "none"
    with Pruning(other, OneShot(0.2), steps=6) as pruning:
        twins = halves(pruning.groups())
        pruning.attach(twins).load_state_dict(whole)
        pruning.leave(early=True)
    for part, twin in zip(parts, twins, strict=True):
        for p, q in zip(part.state.values(), twin.state.values(), strict=True):
            assert torch.equal(p["exp_avg"], q["exp_avg"])


def test_copies_and_smaller_networks_go_on_with_several_optimizers() -> None:
    problem = two_heads()
    with Pruning(problem, GroupLasso(density=0.5), steps=STEPS) as pruning:
        optimizer = pruning.attach(halves(pruning.groups()))
        trained(pruning, optimizer)
    copied: Any = copy.deepcopy(optimizer)
    problem.model.eval()
    small = compact(problem.model, problem.train[0][0], optimizer=optimizer)
    count = len(list(small.parameters()))
    left = [
        part.state_dict()["state"] for part in optimizer.parts
    ]  # in the parts, before any step of the whole
    assert all(left)
    assert all(float(state["step"]) == STEPS for held in left for state in held.values())
    with pytest.raises(ValueError, match="optimizer is a tuple; give one optimizer"):
        compact(problem.model, problem.train[0][0], optimizer=optimizer.parts)  # pyright: ignore[reportArgumentType]
    small(problem.train[0][0])["shade"].sum().backward()
    optimizer.step()
    assert len(optimizer.state_dict()["state"]) == sum(len(part.state) for part in optimizer.parts) == count
    assert all(float(state["step"]) > 1 for part in optimizer.parts for state in [*part.state.values()][:2])
    before = copied.param_groups[0]["params"][0].clone()
    copied.param_groups[0]["params"][0].grad = torch.ones_like(before)
    copied.step()
    assert not torch.equal(before, copied.param_groups[0]["params"][0])
    assert copied.parts[0].state is not optimizer.parts[0].state


def closed(method: Sparsifier, way: str) -> tuple[Problem, torch.optim.Optimizer]:
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
    (plain, adam), (other, twin) = closed(make(), "plain"), closed(make(), way)
    assert equal(weights(plain), weights(other))
    for p, q in zip(plain.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(adam.state[p]["exp_avg"], twin.state[q]["exp_avg"])
