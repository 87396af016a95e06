"""Pruning of models and with optimizers of classes that nobody would think of: found by trying to break it."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from loops import STEPS, adamw, own_loop, trained
from problems import TwoHeads, equal, two_heads, weights
from secateur import (
    AdaptiveWeighting,
    GradualMagnitude,
    OneShot,
    Problem,
    Pruning,
    SoftThreshold,
    components,
    density,
    fit,
)
from secateur.pruning import is_effective


def test_a_class_with_effects_of_its_own_keeps_its_class() -> None:
    class Effects(TwoHeads):
        _effects = ("reverb",)

    problem = two_heads()
    own = Problem(Effects(), problem.tasks, problem.train)
    own_loop(own, SoftThreshold(0.2), steps=STEPS)
    assert type(own.model) is Effects


def test_a_model_that_was_pickled_inside_can_be_pruned() -> None:
    problem, saved = two_heads(), io.BytesIO()
    with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
        torch.save(problem.model, saved)
        pruning.leave(early=True)
    saved.seek(0)
    again = torch.load(saved, weights_only=False)
    own_loop(Problem(again, problem.tasks, problem.train), SoftThreshold(0.2), steps=STEPS)


def test_settings_of_numpy_are_plain_values_in_the_state() -> None:
    problem, saved = two_heads(), io.BytesIO()
    with Pruning(problem, SoftThreshold(np.linspace(0.2, 0.4, 3)[0]), steps=np.int64(STEPS)) as pruning:
        torch.save(pruning.state_dict(), saved)
        saved.seek(0)
        pruning.load_state_dict(torch.load(saved, weights_only=True))
        pruning.leave(early=True)


def test_an_optimizer_in_a_wrapper() -> None:
    class Wrapper(torch.optim.Optimizer):
        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer = optimizer

        def step(self, closure: Any = None) -> Any:
            return self.optimizer.step(closure)

        def zero_grad(self, set_to_none: bool = True) -> None:
            self.optimizer.zero_grad(set_to_none)

    problem = two_heads()
    with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
        wrapped = Wrapper(adamw(pruning.groups()))
        assert pruning.attach(wrapped) is wrapped
        trained(pruning, wrapped)
    assert density(problem.model, components(problem)).overall == pytest.approx(0.2, abs=0.0005)


def test_a_class_that_lets_none_derive_from_it_is_said() -> None:
    class Registered(nn.Conv2d):
        def __init_subclass__(cls, key: str) -> None:
            pass

    problem = two_heads()
    problem.model.colour = Registered(16, 5, 1)
    before = weights(problem)
    with pytest.raises(
        ValueError, match=r"Registered lets no class derive from it .* choose a method with masks"
    ):
        fit(problem, SoftThreshold(0.2), steps=4)
    assert equal(before, weights(problem))
    own_loop(problem, GradualMagnitude(0.2), steps=STEPS)


def test_copies_of_classes_that_copy_themselves_are_plain() -> None:
    class Copying(nn.Conv2d):
        def __deepcopy__(self, memo: Any) -> Any:
            made = self.__class__.__new__(self.__class__)
            memo[id(self)] = made
            made.__dict__ = copy.deepcopy(self.__dict__, memo)
            return made

    problem = two_heads()
    problem.model.colour = Copying(16, 5, 1)
    with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
        assert not is_effective(copy.deepcopy(problem.model))
        assert is_effective(problem.model)
        pruning.leave(early=True)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((nn.Linear(2, 2), SoftThreshold(0.2)), "problem is Linear; give a Problem"),
        ((two_heads(), SoftThreshold), "method is SoftThreshold, a class; give a Sparsifier"),
        ((two_heads(), AdaptiveWeighting()), "method is AdaptiveWeighting; give a Sparsifier"),
        ((two_heads(), SoftThreshold(0.2), OneShot(0.2)), "weighting is OneShot; give a Weighting"),
    ],
)
def test_parts_in_the_wrong_place(arguments: tuple, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Pruning(*arguments, steps=4)


@pytest.mark.parametrize(
    "make", [lambda: SoftThreshold(0.2), lambda: GradualMagnitude(0.2)], ids=["soft", "magnitude"]
)
def test_an_optimizer_whose_step_calls_that_of_its_parent(make) -> None:
    class Own(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    plain, problem = two_heads(), two_heads()
    own_loop(plain, make(), steps=STEPS)
    own_loop(problem, make(), steps=STEPS, make=lambda groups: Own(groups, lr=1e-2))
    assert equal(weights(plain), weights(problem))


def test_a_thresholded_layer_gives_its_parameter_by_name() -> None:
    problem = two_heads()
    with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
        layer = problem.model.colour
        assert layer.get_parameter("weight") is dict(problem.model.named_parameters())["colour.weight"]
        assert layer.get_parameter("bias") is layer.bias
        with pytest.raises(AttributeError, match="nosuch"):
            layer.get_parameter("nosuch")
        pruning.leave(early=True)
