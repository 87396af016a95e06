"""Averages of weights that are narrow, snapshots of a model that keeps what it computed, and both while layers are frozen."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD
from torch.optim.swa_utils import AveragedModel

from loops import adamw, loop
from problems import TwoHeads, batches, equal, tasks, two_heads, weights
from secateur import EMA, OneShot, Problem, Pruning, SoftThreshold, fit, load
from secateur.training import Callback, Course, Snapshots


class Nudge(Callback):
    """Adds to a weight what a small rate would, which half precision tells from the weight and not from its average."""

    def after_step(self, course: Course, losses: object) -> None:
        with torch.no_grad():
            course.problem.model.colour.bias.fill_(1.0 if course.step == 1 else 1.05)


def test_the_average_of_weights_in_half_precision_moves() -> None:
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        problem = two_heads(dtype=dtype)
        fit(problem, steps=200, callbacks=[Nudge(), EMA(0.99)], progress=False)
        assert problem.model.colour.bias.dtype == dtype
        found.append(float(problem.model.colour.bias.detach()[0]))
    assert 1.02 < found[0] < 1.05
    assert abs(found[1] - found[0]) < 0.005


class Keeping(TwoHeads):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = super().forward(x)
        self.last = found["colour"]
        return found


def test_a_model_that_keeps_an_activation_has_snapshots(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = batches()
    problem = Problem(Keeping(), tasks(), data)
    fit(problem, SoftThreshold(0.3), steps=6, callbacks=[Snapshots(tmp_path, every=6)], progress=False)
    (path,) = tmp_path.glob("*.safetensors")
    again = Keeping()
    load(again, path)
    assert equal(weights(Problem(again, tasks(), data)), weights(problem))


@pytest.mark.parametrize("make", [lambda: OneShot(0.2, at=0.5), lambda: SoftThreshold(0.2, ramp=(0.1, 0.5))])
def test_an_average_that_comes_while_a_layer_is_frozen_gets_its_zeros(make: Any) -> None:
    problem = two_heads()
    layer = problem.model.trunk[4]
    with Pruning(problem, make(), steps=12) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        layer.requires_grad_(False)
        average = pruning.follow(AveragedModel(problem.model))
        for x, targets in loop(pruning, optimizer, 12):
            layer.requires_grad_(pruning.done > 2)
            average.update_parameters(problem.model)
            pruning.loss(problem.model(x), targets).backward()
    own = average.module.trunk[4].weight
    assert ((own != 0) <= (layer.weight != 0)).all()
    assert (layer.weight == 0).any()


def test_a_copy_moves_by_as_much_as_a_layer_that_is_frozen_when_the_thresholds_end() -> None:
    problem = two_heads()
    with Pruning(problem, SoftThreshold(0.2, ramp=(0.1, 0.5)), steps=12) as pruning:
        optimizer = pruning.attach(SGD(pruning.groups(), lr=0.0))
        copied = pruning.follow(copy.deepcopy(problem.model))
        for x, targets in loop(pruning, optimizer, 12):
            problem.model.trunk[4].requires_grad_(pruning.done < 4)
            pruning.loss(problem.model(x), targets).backward()
    assert not (problem.model.trunk[4].weight == 0).all()
    for own, other in zip(problem.model.parameters(), copied.parameters(), strict=True):
        assert torch.equal(own, other)


class Freezing(Callback):
    def before_step(self, course: Course) -> None:
        course.problem.model.trunk[4].requires_grad_(course.step < 6)


def test_averages_and_snapshots_have_the_zeros_of_layers_that_are_frozen(tmp_path: Path) -> None:
    problem, again = two_heads(), two_heads()
    fit(problem, OneShot(0.2, at=0.2), steps=10, callbacks=[Freezing(), EMA()], progress=False)
    assert (problem.model.trunk[4].weight == 0).float().mean() > 0.5
    keeps = Snapshots(tmp_path, every=8)
    fit(
        two_heads(),
        SoftThreshold(0.2, ramp=(0.0, 0.9)),
        steps=10,
        callbacks=[Freezing(), keeps],
        progress=False,
    )
    load(again.model, tmp_path / "step-08.safetensors")
    assert (again.model.trunk[4].weight == 0).float().mean() > 0.3
