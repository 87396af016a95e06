"""Pruning where a loop does what nobody would think of: found by trying to break it."""

# ruff: noqa: PT012, SIM117 (an error inside a block of Pruning is what is looked at)

from __future__ import annotations

import copy
from itertools import islice
from typing import Any

import pytest
import torch
from torch import nn

from loops import STEPS, adamw, endless, own_loop, trained
from problems import equal, two_heads, weights
from secateur import (
    AdaptiveWeighting,
    GradualMagnitude,
    GroupLasso,
    LearnedThreshold,
    Pruning,
    SoftThreshold,
    UncertaintyWeighting,
    fit,
)
from secateur.pruning import is_effective


@pytest.mark.parametrize(
    "make", [lambda: SoftThreshold(0.2), lambda: GradualMagnitude(0.2)], ids=["soft", "magnitude"]
)
def test_parameters_that_were_replaced_are_said(make) -> None:
    problem = two_heads()
    state = copy.deepcopy(problem.model.state_dict())
    with pytest.raises(RuntimeError, match=r"trunk\.0\.weight was replaced since Pruning was entered"):
        with Pruning(problem, make(), steps=STEPS) as pruning:
            problem.model.load_state_dict(state, assign=True)
            pruning.attach(adamw(pruning.groups()))
    assert not is_effective(problem.model)
    with pytest.raises(RuntimeError, match="was replaced since"):
        with Pruning(problem, make(), steps=STEPS) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            trained(pruning, optimizer)
            problem.model.colour.weight = nn.Parameter(torch.ones_like(problem.model.colour.weight))


def test_a_backbone_that_is_unfrozen_inside_is_said() -> None:
    problem = two_heads()
    problem.model.trunk.requires_grad_(False)
    with pytest.raises(RuntimeError, match=r"trunk\.0\.weight was frozen when Pruning was entered"):
        with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            trained(pruning, optimizer)
            problem.model.trunk.requires_grad_(True)


def test_an_average_gets_the_zeros_of_what_was_frozen_too() -> None:
    problem = two_heads()
    average = copy.deepcopy(problem.model)
    with Pruning(problem, GradualMagnitude(0.2), steps=STEPS) as pruning:
        pruning.follow(average)
        optimizer = pruning.attach(adamw(pruning.groups()))
        trained(pruning, optimizer)
        problem.model.trunk.requires_grad_(False)
    for name, weight in problem.model.named_parameters():
        if weight.dim() > 1:
            assert ((dict(average.named_parameters())[name] != 0) <= (weight != 0)).all(), name


@pytest.mark.parametrize("which", ["method", "weighting"])
def test_one_object_cannot_work_on_two_models(which: str) -> None:
    shared: dict[str, Any] = {"method": SoftThreshold(0.2), "weighting": UncertaintyWeighting()}
    given = {which: shared[which]}
    with Pruning(two_heads(), **given, steps=STEPS) as pruning:
        with pytest.raises(
            RuntimeError, match=f"This {type(shared[which]).__name__} is at work in another training"
        ):
            fit(two_heads(), **given, steps=4)
        pruning.leave(early=True)
    fit(two_heads(), **given, steps=4)


def test_best_weights_that_are_loaded_inside_lose_no_zero_of_the_lasso_in_silence() -> None:
    problem = two_heads()
    best = copy.deepcopy(problem.model.state_dict())
    with pytest.raises(ValueError, match=r"GroupLasso: \d+ weights that were pruned are not zero"):
        with Pruning(problem, GroupLasso(density=0.4), steps=STEPS) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            trained(pruning, optimizer)
            problem.model.load_state_dict(best)


def test_a_learning_rate_that_begins_at_zero() -> None:
    problem = two_heads()
    with Pruning(problem, GroupLasso(density=0.4, ramp=(0.0, 0.7)), steps=STEPS) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, (step - 12) / STEPS))
        for x, targets in islice(endless(problem), STEPS):
            pruning.loss(problem.model(x), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            pruning.step()
            schedule.step()


@pytest.mark.parametrize("weighting", [AdaptiveWeighting, UncertaintyWeighting])
def test_validation_teaches_nothing(weighting) -> None:
    straight, watched = two_heads(), two_heads()
    own_loop(straight, SoftThreshold(0.2), weighting(), steps=STEPS)

    def validate(pruning: Pruning) -> None:
        if pruning.done < pruning.total:
            rng = torch.get_rng_state()
            x, targets = watched.train[0]
            watched.model.eval()
            with torch.no_grad():
                loss = pruning.loss(watched.model(x), targets)
            watched.model.train()
            torch.set_rng_state(rng)
            assert loss.isfinite()

    own_loop(watched, SoftThreshold(0.2), weighting(), steps=STEPS, after=validate)
    assert equal(weights(straight), weights(watched))


def test_a_state_in_the_middle_of_a_step_is_refused() -> None:
    problem = two_heads()
    x, targets = problem.train[0]
    with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        pruning.loss(problem.model(x), targets).backward()
        optimizer.step()
        with pytest.raises(RuntimeError, match=r"save after pruning\.step\(\)"):
            pruning.state_dict()
        pruning.step()
        pruning.state_dict()
        pruning.leave(early=True)


@pytest.mark.parametrize(
    "make", [lambda: SoftThreshold(0.2), lambda: LearnedThreshold(0.2, pressure="controller", deadline=0.7)]
)
@pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds")
def test_rolling_back_to_before_the_freeze(make) -> None:
    straight, rolled = two_heads(), two_heads()
    own_loop(straight, make(), steps=STEPS)
    torch.manual_seed(0)
    rolled.model.train()
    with Pruning(rolled, make(), steps=STEPS) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        data = list(islice(endless(rolled), STEPS))

        def run(batches: list) -> None:
            for x, targets in batches:
                pruning.loss(rolled.model(x), targets).backward()
                optimizer.step()
                optimizer.zero_grad()
                pruning.step()

        run(data[:10])
        parts = {"model": rolled.model, "optimizer": optimizer, "pruning": pruning}
        kept = copy.deepcopy({name: part.state_dict() for name, part in parts.items()})
        rng = torch.get_rng_state()
        run(data[10:28])
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        torch.set_rng_state(rng)
        run(data[10:])
    assert equal(weights(straight), weights(rolled))


def test_a_method_that_was_used_before_takes_up_a_state() -> None:
    used = GradualMagnitude(0.2)
    fit(two_heads(), used, steps=6)
    with Pruning(two_heads(), used, steps=STEPS) as pruning:
        state = copy.deepcopy(pruning.state_dict())
        pruning.leave(early=True)
    with Pruning(two_heads(), GradualMagnitude(0.2), steps=STEPS) as pruning:
        pruning.load_state_dict(state)
        with pytest.raises(ValueError, match="this is no state of Pruning; it has no done, identity"):
            pruning.load_state_dict({"model": {}})
        pruning.leave(early=True)


def test_batches_without_labels_teach_nothing() -> None:
    problem = two_heads()
    x, targets = problem.train[0]
    with Pruning(problem, SoftThreshold(0.2), steps=4) as pruning:
        pruning.attach(adamw(pruning.groups()))
        predictions = problem.model(x)
        for nothing in ({}, {"shade": None}, {"shade": targets["shade"][:0]}):
            loss = pruning.loss(predictions, nothing)
            loss.backward(retain_graph=True)
            assert loss == 0
        assert all(p.grad is None or not p.grad.any() for p in problem.model.parameters())
        assert pruning.labels.skipped == 3
        with pytest.raises(ValueError, match=r"targets are Tensor .*; a batch is \(x, \{task: target\}\)"):
            pruning.loss(predictions, targets["shade"])
        assert pruning.loss(predictions, {**targets, "colour": None}).isfinite()
        with pytest.raises(ValueError, match="follow: list is no module"):
            pruning.follow([])
        for lacking in ({}, {"trunk.0.weight": 1.0}):
            with pytest.raises(ValueError, match=r"follow: dict is no copy of the model; .* trunk.0.weight"):
                pruning.follow(lacking)
        pruning.leave(early=True)


def test_a_start_without_memory_leaves_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = two_heads()
    problem.owners  # noqa: B018
    with monkeypatch.context() as patched:
        patched.setattr(
            torch.Tensor, "clone", lambda self: (_ for _ in ()).throw(torch.OutOfMemoryError("full"))
        )
        with pytest.raises(torch.OutOfMemoryError):
            Pruning(problem, SoftThreshold(0.2), steps=STEPS).enter()
    own_loop(problem, SoftThreshold(0.2), steps=STEPS)
