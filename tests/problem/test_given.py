"""Loaders of all kinds, and what a Problem or a Task cannot be made of."""

from __future__ import annotations

import math
from typing import Any

import pytest
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from problems import TwoHeads, tasks, two_heads
from secateur import (
    AdaptiveWeighting,
    Fixed,
    GradualMagnitude,
    GroupLasso,
    LearnedThreshold,
    Problem,
    SoftThreshold,
    Task,
    UncertaintyWeighting,
    components,
    density,
    fit,
)


class Endless(IterableDataset):
    def __iter__(self) -> Any:
        return iter(two_heads().train)


class Once:
    """Reads on where it stands: one generator for all passes."""

    def __init__(self) -> None:
        self.batches = (batch for batch in two_heads().train)

    def __iter__(self) -> Any:
        return self.batches


def test_loaders_of_all_kinds() -> None:
    endless = Problem(two_heads().model, tasks(), DataLoader(Endless(), batch_size=None))
    fit(endless, SoftThreshold(0.2), steps=8)
    assert density(endless.model, components(endless)).overall == pytest.approx(0.2, abs=0.0005)
    with pytest.raises(ValueError, match="epochs needs a loader with a length; give steps"):
        fit(endless, epochs=1)
    with pytest.raises(
        ValueError, match="train gives the same iterator each time, so it can be read only once"
    ):
        fit(Problem(two_heads().model, tasks(), Once()), steps=2)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"model": TwoHeads}, "model is TwoHeads, a class"),
        ({"tasks": [Task(F.l1_loss)]}, r"tasks is list; give \{name: Task\(loss\)\}"),
        ({"tasks": {"colour": F.cross_entropy}}, r"tasks\['colour'\] is function; give a Task"),
        ({"train": None}, "train is NoneType"),
        ({"train": lambda: []}, "train is function; call it in the __iter__ of a class"),
        ({"train": {"color": []}}, r"train has loaders for \['color'\], but the tasks are"),
        ({"train": {}}, "train is empty"),
        ({"val": iter([])}, "val is a one-shot iterator"),
        ({"unpack": {}}, r"unpack is dict; give a function batch -> \(x, \{task: target\}\)"),
        ({"call": "forward"}, "call is str"),
    ],
)
def test_parts_of_a_problem_that_are_something_else(arguments: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Problem(**({"model": TwoHeads(), "tasks": tasks(), "train": []} | arguments))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Task("cross_entropy"), "loss is 'cross_entropy'; give a function"),
        (lambda: Task(nn.CrossEntropyLoss), r"loss is CrossEntropyLoss, a class; give an object of it"),
        (lambda: Task(F.l1_loss, {"mae": "mae"}), "metric 'mae' is 'mae'"),
        (
            lambda: Task(F.l1_loss, [F.l1_loss, F.l1_loss]),
            r"metrics are \['l1_loss', 'l1_loss'\]; give them names",
        ),
        (lambda: Task(F.l1_loss, lambda p, t: 0.0), "give them names"),
    ],
)
def test_parts_of_a_task_that_are_something_else(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("weight", [math.nan, math.inf, -1.0, "2"])
def test_a_weight_of_a_task_is_a_finite_factor(weight: Any) -> None:
    with pytest.raises(ValueError, match=r"Task: weight is .*; give a finite number, 0 or more"):
        Task(F.l1_loss, weight=weight)
    with pytest.raises(ValueError, match=r"Fixed: .*weight.* is .*; give .*finite number"):
        Fixed({"shade": weight})
    Task(F.l1_loss, weight=0)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: GroupLasso(density=0.2, warmup=math.nan), "GroupLasso: warmup is nan; give finite numbers"),
        (lambda: GradualMagnitude(0.2, every=math.inf), "GradualMagnitude: every is inf"),
        (lambda: SoftThreshold(0.2, at_least=-1), "SoftThreshold: at_least is -1; give 0 weights or more"),
        (lambda: AdaptiveWeighting(window=math.nan), "AdaptiveWeighting: window is nan"),
        (lambda: UncertaintyWeighting(math.inf), "UncertaintyWeighting: init is inf"),
        (lambda: LearnedThreshold(0.2, strength=-1.0), "strength is -1.0; give 0 or more"),
        (
            lambda: fit(two_heads(), steps=2, log_every=-1),
            "log_every is -1; give a whole number of steps, or None",
        ),
        (lambda: fit(two_heads(), steps=2, checkpoint_every=math.nan), "checkpoint_every is nan"),
        (lambda: fit(two_heads(), steps=2, validate_every=1.5), "validate_every is 1.5"),
    ],
)
def test_numbers_that_are_none_are_refused_by_name(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()
