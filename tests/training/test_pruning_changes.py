"""Pruning where something changes on the way: what follows, what is attached, what is trained; and going on after a step that broke off."""

# ruff: noqa: PT012, SIM117 (an error inside a block of Pruning is what is looked at)

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.swa_utils import AveragedModel

from loops import adamw, loop, trained
from problems import equal, two_heads, weights
from secateur import GradualMagnitude, OneShot, Problem, Pruning, SoftThreshold


@pytest.mark.parametrize("make", [lambda: OneShot(0.2), lambda: SoftThreshold(0.2)])
def test_an_average_that_is_made_anew_at_each_step_gets_the_zeros(make: Any) -> None:
    problem = two_heads()
    shadow = {n: p.detach().clone() for n, p in problem.model.named_parameters()}
    with Pruning(problem, make(), steps=6) as pruning:
        pruning.follow(shadow)
        optimizer = pruning.attach(adamw(pruning.groups()))
        for x, targets in loop(pruning, optimizer, 6):
            pruning.loss(problem.model(x), targets).backward()
            for n, p in problem.model.named_parameters():
                shadow[n] = (0.5 * shadow[n] + 0.5 * p.detach()).clone()
    own = {n: p for n, p in problem.model.named_parameters() if p.dim() > 1}
    assert all(((shadow[n] != 0) <= (p != 0)).all() for n, p in own.items())
    with pytest.raises(RuntimeError, match="follow: Pruning was left"):
        pruning.follow(AveragedModel(problem.model))


def test_an_average_that_lost_a_tensor_is_said() -> None:
    problem = two_heads()
    shadow = dict(copy.deepcopy(problem.model).named_parameters())
    with pytest.raises(ValueError, match=r"follow: dict no longer has colour\.weight"):
        with Pruning(problem, OneShot(0.2), steps=2) as pruning:
            pruning.follow(shadow)
            trained(pruning, pruning.attach(adamw(pruning.groups())), 2)
            del shadow["colour.weight"]


@pytest.mark.parametrize("several", [False, True])
def test_attaching_again_hangs_nothing_twice(several: bool) -> None:
    problem = two_heads()
    with Pruning(problem, OneShot(0.2), steps=5) as pruning:
        given: Any = adamw(pruning.groups())
        given = [given] if several else given
        trained(pruning, pruning.attach(given), 2)
        optimizer: Any = given[0] if several else given
        before = len(optimizer._optimizer_step_pre_hooks), len(optimizer._optimizer_step_post_hooks)
        trained(pruning, pruning.attach(given), 2)
        assert before == (len(optimizer._optimizer_step_pre_hooks), len(optimizer._optimizer_step_post_hooks))
        pruning.leave(early=True)
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_a_group_that_comes_later_is_added_to_one_of_several_optimizers() -> None:
    problem, extra = two_heads(), nn.Parameter(torch.ones(()))
    with Pruning(problem, steps=6) as pruning:
        first, *others = list(problem.model.parameters())
        parts = [SGD([first], lr=0.1), SGD(others, lr=0.1)]
        optimizer = pruning.attach(parts)
        with pytest.raises(ValueError, match=r"several optimizers in one \(SGD and SGD\).*add it to"):
            optimizer.add_param_group({"params": [extra]})
        parts[0].add_param_group({"params": [extra], "lr": 0.1})
        for x, targets in loop(pruning, optimizer, 6):
            found = problem.model(x)
            assert extra.grad is None
            pruning.loss({**found, "shade": found["shade"] + extra}, targets).backward()
        assert extra != 1.0
        assert len(optimizer.param_groups) == len(optimizer.state_dict()["param_groups"]) == 3
        parts[1].add_param_group({"params": [extra]})
        with pytest.raises(ValueError, match="Two optimizers train one parameter"):
            optimizer.zero_grad()


def replace(model: Any) -> None:
    model.colour.weight = nn.Parameter(model.colour.weight.detach().clone())


def exchange(model: Any) -> None:
    model.shade[2] = nn.Conv2d(8, 1, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replace, r"colour\.weight was replaced"),
        (exchange, r"shade\.2\.weight was replaced"),
        (lambda model: model.trunk[0].requires_grad_(True), r"trunk\.0\.weight was frozen when"),
        (lambda model: model.add_module("last", nn.Conv2d(1, 1, 1)), r"last\.weight was .*, or not there"),
    ],
)
def test_weights_that_are_others_are_said_at_once(change: Any, said: str) -> None:
    problem = two_heads()
    problem.model.trunk[0].requires_grad_(False)
    pruning = Pruning(problem, GradualMagnitude(0.2), steps=9).enter()
    optimizer = pruning.attach(adamw(pruning.groups()))
    trained(pruning, optimizer, 2)
    change(problem.model)
    with pytest.raises(RuntimeError, match=said):
        trained(pruning, optimizer, 1)
    pruning.undo()


def test_what_is_frozen_for_a_while_and_added_goes_on() -> None:
    problem = two_heads()
    with Pruning(problem, OneShot(0.2), steps=6) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        for trainable in (True, False, True):
            problem.model.trunk.requires_grad_(trainable)
            problem.model.shade.append(nn.Identity())
            trained(pruning, optimizer, 2)


def infinite(targets: Any) -> Any:
    return {**targets, "shade": targets["shade"] * torch.inf}


@pytest.mark.parametrize("how", ["infinite", "between"])
def test_a_state_is_taken_up_after_a_step_that_broke_off(how: str) -> None:
    straight, problem = two_heads(), two_heads()
    for model in (straight.model, problem.model):
        model.trunk[3] = nn.Identity()  # no dropout
    with Pruning(straight, GradualMagnitude(0.2), steps=6) as pruning:
        trained(pruning, pruning.attach(adamw(pruning.groups())), 6)
    with Pruning(problem, GradualMagnitude(0.2), steps=6) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        trained(pruning, optimizer, 3)
        parts = {"model": problem.model, "optimizer": optimizer, "pruning": pruning}
        kept = copy.deepcopy({name: part.state_dict() for name, part in parts.items()})
        x, targets = problem.train[3]
        targets = infinite(targets) if how == "infinite" else targets
        pruning.loss(problem.model(x), targets).backward()
        if how == "infinite":
            with pytest.raises(FloatingPointError, match="'shade'"):
                optimizer.step()
            out_of_turn = (
                lambda: pruning.loss(problem.model(x), targets),
                optimizer.step,
                pruning.step,
                pruning.state_dict,
            )
            for call in out_of_turn:
                with pytest.raises(RuntimeError, match=r"Step 4 broke off \(FloatingPointError\).* Zero the"):
                    call()
        else:
            optimizer.step()  # and then something raises
        optimizer.zero_grad()
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        for x, targets in problem.train[3:]:
            pruning.loss(problem.model(x), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            pruning.step()
    assert equal(weights(straight), weights(problem))


def test_a_state_while_gradients_wait_is_said() -> None:
    problem = two_heads()
    with Pruning(problem, OneShot(0.2), steps=2, accumulate=2) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        for x, targets in loop(pruning, optimizer, 2):
            for _ in range(2):
                pruning.loss(problem.model(x), targets).backward()
                with pytest.warns(UserWarning, match=r"gradients of \d batch.* save after pruning\.step"):
                    pruning.state_dict()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pruning.state_dict()


class Apart(nn.Module):
    """A trunk that runs once for every task's own input."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = two_heads().model

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            self.inner(next(iter(x.values())))  # a look at its own features
        return {task: self.inner(value)[task] for task, value in x.items()}


def apart() -> Problem:
    made = two_heads()
    return Problem(Apart(), made.tasks, [(dict.fromkeys(t, x), t) for x, t in made.train])


def test_a_look_without_gradients_starves_no_trunk() -> None:
    problem = apart()
    with Pruning(problem, SoftThreshold(0.2), steps=6) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        for x, targets in loop(pruning, optimizer, 6):
            pruning.loss(problem.model(x), targets).backward()
            assert all(p.grad is not None for p in problem.model.parameters())


def test_averages_of_a_model_with_an_input_by_task_bear_nothing_of_ours() -> None:
    problem = apart()
    with Pruning(problem, SoftThreshold(0.2, ramp=(0.1, 0.3)), steps=6) as pruning:
        average = pruning.follow(AveragedModel(problem.model))
        optimizer = pruning.attach(adamw(pruning.groups()))
        before = copy.deepcopy(pruning.state_dict())
        assert problem.model._forward_pre_hooks
        trained(pruning, optimizer, 5)
        assert not problem.model._forward_pre_hooks  # the mask is frozen
        pruning.load_state_dict(before)
        assert problem.model._forward_pre_hooks
        trained(pruning, optimizer, 6)
    for model in (average.module, problem.model):
        assert type(model) is Apart
        assert not model._forward_pre_hooks
        assert not model._forward_hooks
