"""Pruning in a user's own loop: calls that are missing, too many or out of turn."""

# ruff: noqa: PT012, SIM117 (an error inside a block of Pruning is what is looked at)

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import nn

from loops import STEPS, adamw, endless, overall, own_loop, trained
from problems import two_heads
from secateur import (
    Dense,
    Distillation,
    Fixed,
    LearnedThreshold,
    LotteryTicket,
    Pruning,
    SoftThreshold,
    UncertaintyWeighting,
    fit,
)
from secateur.problem import Problem
from secateur.pruning import Sparsifier, is_effective

pytestmark = pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds")


def test_a_step_without_a_loss() -> None:
    problem = two_heads()
    with pytest.raises(RuntimeError, match=r"no loss since the last step; train on pruning\.loss"):
        with Pruning(problem, SoftThreshold(0.2), steps=4) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            problem.model(problem.train[0][0])["shade"].sum().backward()
            optimizer.step()
            pruning.step()
    assert not is_effective(problem.model)


def test_a_loss_of_ones_own_is_said() -> None:
    problem = two_heads()
    with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        for x, targets in islice(endless(problem), STEPS):
            predictions = problem.model(x)
            sum(problem.tasks[t].loss(predictions[t], targets[t]) for t in targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            pruning.step(own_loss=True)
    assert overall(problem) == pytest.approx(0.2, abs=0.0005)


@pytest.mark.parametrize(
    ("method", "weighting", "teacher", "who"),
    [
        (SoftThreshold(0.2), Fixed({"shade": 2.0}), False, "Fixed"),
        (SoftThreshold(0.2), UncertaintyWeighting(), False, "UncertaintyWeighting"),
        (LearnedThreshold(0.2, pressure="l1_density"), None, False, "LearnedThreshold"),
        (SoftThreshold(0.2), None, True, "Distillation"),
    ],
)
def test_a_loss_of_ones_own_cannot_replace_what_is_part_of_it(method, weighting, teacher, who) -> None:
    problem = two_heads()
    taught = Distillation(two_heads().model) if teacher else None
    with pytest.raises(ValueError, match=f"{who} is part of the loss"):
        with Pruning(problem, method, weighting, steps=4, distillation=taught) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            problem.model(problem.train[0][0])["shade"].sum().backward()
            optimizer.step()
            pruning.step(own_loss=True)


@pytest.mark.parametrize("call", ["groups", "step", "density", "state_dict", "leave"])
def test_not_entered(call: str) -> None:
    pruning = Pruning(two_heads(), SoftThreshold(0.2), steps=4)
    with pytest.raises(RuntimeError, match=r"not entered, or was left; write `with Pruning"):
        getattr(pruning, call)()


def test_one_pruning_is_one_training() -> None:
    problem = two_heads()
    pruning = Pruning(problem, SoftThreshold(0.2), steps=4)
    pruning.enter()
    with pytest.raises(RuntimeError, match="entered already"):
        pruning.enter()
    pruning.leave(early=True)
    with pytest.raises(RuntimeError, match="entered already"):
        pruning.enter()
    pruning.undo()


@pytest.mark.parametrize("second", [Dense, lambda: SoftThreshold(0.2)])
def test_two_prunings_on_one_model(second: Callable[[], Sparsifier]) -> None:
    problem = two_heads()
    with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
        with pytest.raises(RuntimeError, match="being pruned already; leave the other Pruning first"):
            with Pruning(problem, second(), steps=4):
                pass
        with pytest.raises(RuntimeError, match="being pruned already"):
            fit(Problem(nn.ModuleDict({"in": problem.model})["in"], problem.tasks, problem.train), steps=2)
        fit(Problem(copy.deepcopy(problem.model), problem.tasks, problem.train), SoftThreshold(0.3), steps=4)
        optimizer = pruning.attach(adamw(pruning.groups()))  # the first is not disturbed
        trained(pruning, optimizer)
    assert overall(problem) == pytest.approx(0.2, abs=0.0005)


def test_calls_out_of_turn() -> None:
    problem = two_heads()
    x, targets = problem.train[0]

    def begun() -> tuple[Pruning, torch.optim.Optimizer]:
        pruning = Pruning(problem, SoftThreshold(0.2), steps=2).enter()
        return pruning, pruning.attach(adamw(pruning.groups()))

    pruning, optimizer = begun()
    pruning.loss(problem.model(x), targets).backward()
    pruning.step()
    with pytest.raises(RuntimeError, match=r"pruning\.step\(\) was called before optimizer\.step\(\)"):
        optimizer.step()
    pruning.undo()
    pruning, optimizer = begun()
    pruning.loss(problem.model(x), targets).backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="stepped twice"):
        optimizer.step()
    pruning.undo()
    optimizer.step()  # nothing of ours is left on it
    pruning = Pruning(problem, SoftThreshold(0.2), steps=2).enter()
    with pytest.raises(RuntimeError, match="waits for its optimizer"):
        pruning.loss(problem.model(x), targets)
    pruning.undo()
    with pytest.raises(RuntimeError, match="All 2 steps are done"):
        own_loop(problem, steps=2, after=lambda p: p.step() if p.done == 2 else None)
    with pytest.raises(RuntimeError, match="Round 2 of 2 waits for its optimizer"):
        with Pruning(problem, LotteryTicket(0.5), steps=2) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            trained(pruning, optimizer, 3)


def test_left_too_early() -> None:
    problem = two_heads()
    with pytest.raises(RuntimeError, match=r"left after 3 of 30 steps"):
        with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            trained(pruning, optimizer, 3)
    assert not is_effective(problem.model)
    assert overall(problem) == pytest.approx(0.2, abs=0.0005)
    with Pruning(problem, SoftThreshold(0.1), steps=STEPS) as pruning:
        pruning.leave(early=True)
    assert overall(problem) == pytest.approx(0.1, abs=0.0005)
    with Pruning(problem, LotteryTicket(0.05), steps=STEPS) as pruning:
        pruning.leave(early=True)
    assert overall(problem) == pytest.approx(0.05, abs=0.0005)
