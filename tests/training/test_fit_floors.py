"""Floors: the sparsest network that costs no task more than it may."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, Metric

from problems import equal, two_heads, weights
from secateur import GradualMagnitude, evaluate, fit
from secateur.problem.components import components
from secateur.problem.problem import Problem, Task
from secateur.pruning.density import density


def measured(seed: int = 0) -> Problem:
    problem = two_heads(seed)
    made = {
        "colour": Task(F.cross_entropy, {"error": Error()}),
        "shade": Task(F.l1_loss, {"mae": MeanAbsoluteError()}),
    }
    return Problem(problem.model, made, problem.train, problem.val, problem.test)


class Error(Metric):
    """Mean cross-entropy."""

    higher_is_better = False
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), "sum")
        self.add_state("count", torch.tensor(0), "sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        self.total = self.total + F.cross_entropy(prediction, target)
        self.count = self.count + 1

    def compute(self) -> Tensor:
        return self.total / self.count


def test_floors_back_off_until_no_task_loses_too_much() -> None:
    dense, problem = measured(), measured()
    fit(dense, steps=60)
    reference = evaluate(dense, "val")
    history = fit(
        problem, GradualMagnitude(0.02), steps=60, floors={"shade": 0.10}, reference=reference, tries=4
    )
    first, last = history.attempts[0], history.attempts[-1]
    assert first.density == 0.02
    assert first.stopped_by == ("shade",)
    assert first.lost["shade"] > 0.10
    assert last.density > 0.02
    good = [a.density for a in history.attempts if not a.stopped_by]
    assert good
    found = density(problem.model, components(problem)).overall
    assert found == pytest.approx(min(good), abs=0.0005)
    now = evaluate(problem, "val")
    assert now["shade"]["mae"] <= 1.10 * reference["shade"]["mae"]


def test_floors_that_hold_cost_one_training(tmp_path: Path) -> None:
    plain, problem = measured(), measured()
    fit(plain, GradualMagnitude(0.5), steps=20)
    history = fit(
        problem, GradualMagnitude(0.5), steps=20, floors={"shade": 0.9}, reference=evaluate(plain, "val")
    )
    assert len(history.attempts) == 1
    assert history.attempts[0].stopped_by == ()
    assert equal(weights(plain), weights(problem))


def test_floors_nobody_can_keep_end_dense() -> None:
    dense, problem = measured(), measured()
    fit(dense, steps=10)
    better = {t: {m: v / 100 for m, v in found.items()} for t, found in evaluate(dense, "val").items()}
    history = fit(problem, GradualMagnitude(0.1), steps=10, floors={"colour": 0.0}, reference=better, tries=2)
    assert [a.stopped_by for a in history.attempts] == [("colour",), ("colour",)]
    assert equal(weights(dense), weights(problem))


def test_floors_train_their_own_reference_and_resume(tmp_path: Path) -> None:
    straight, stopped = measured(), measured()
    one = fit(straight, GradualMagnitude(0.05), steps=20, floors={"shade": 0.01}, tries=3)
    again = fit(
        stopped,
        GradualMagnitude(0.05),
        steps=20,
        floors={"shade": 0.01},
        tries=3,
        checkpoint=tmp_path / "c.pt",
    )
    assert [a.lost for a in one.attempts] == [a.lost for a in again.attempts]
    assert equal(weights(straight), weights(stopped))
    assert {p.name for p in tmp_path.iterdir()} >= {"c-dense.pt", "c-try0.pt"}
    resumed = measured()
    fit(
        resumed,
        GradualMagnitude(0.05),
        steps=20,
        floors={"shade": 0.01},
        tries=3,
        checkpoint=tmp_path / "c.pt",
    )
    assert equal(weights(straight), weights(resumed))


@pytest.mark.parametrize(
    ("floors", "method", "said"),
    [
        ({"smell": 0.1}, GradualMagnitude(0.1), r"floors names \['smell'\]; the problem's tasks are"),
        ({}, GradualMagnitude(0.1), "floors names no task"),
        ({"shade": 1.5}, GradualMagnitude(0.1), "lies in"),
        ({"shade": 0.1}, GradualMagnitude(1.0), "a density below 1 to back off from"),
        ({"shade": 0.1}, None, "a density below 1 to back off from; Sparsifier has None"),
    ],
)
def test_unusable_floors(floors: dict[str, float], method: GradualMagnitude | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit(measured(), method, steps=2, floors=floors)


def test_floors_need_metrics_and_validation_data() -> None:
    with pytest.raises(ValueError, match="which has no metric"):
        fit(two_heads(), GradualMagnitude(0.1), steps=2, floors={"shade": 0.1})
    problem = measured()
    blind = Problem(deepcopy(problem.model), problem.tasks, problem.train)
    with pytest.raises(ValueError, match="the problem has none"):
        fit(blind, GradualMagnitude(0.1), steps=2, floors={"shade": 0.1})
