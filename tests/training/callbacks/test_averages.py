"""Averages of weights that are narrow, and snapshots of a model that keeps what it computed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from problems import TwoHeads, batches, equal, tasks, two_heads, weights
from secateur import EMA, Problem, SoftThreshold, fit, load
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
