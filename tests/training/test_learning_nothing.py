"""A task that training teaches nothing is an error, unless its parameters were frozen on purpose or the batch has none of its labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from problems import TwoHeads, equal, two_heads, weights
from secateur import AdaptiveWeighting, Problem, SoftThreshold, Task, fit


class CutOff(TwoHeads):
    """Where ``shade`` is cut off: ``detached`` its prediction, ``no_grad`` in training alone, ``features`` before its head."""

    where = ""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = torch.relu(self.trunk(x))
        own = features.detach() if self.where == "features" else features
        with torch.set_grad_enabled(
            torch.is_grad_enabled() and not (self.where == "no_grad" and self.training)
        ):
            shade = self.shade(own)
        return {
            "colour": self.colour(features),
            "shade": shade.detach() if self.where == "detached" else shade,
        }


def cut_off(where: str, **given: Any) -> Problem:
    torch.manual_seed(0)
    model = CutOff()
    model.where = where
    return replace(two_heads(), model=model, **given)


@pytest.mark.parametrize("where", ["detached", "no_grad"])
def test_a_task_that_is_cut_off_is_named_at_the_first_batch(where: str) -> None:
    problem = cut_off(where)
    before = {name: p.clone() for name, p in problem.model.named_parameters()}
    with pytest.raises(
        ValueError, match=r"loss of task 'shade' depends on no .* under torch.no_grad, or detach it\? Leave"
    ):
        fit(problem, SoftThreshold(0.5), steps=5)
    assert all(torch.equal(p, before[name]) for name, p in problem.model.named_parameters())


def test_a_loss_that_lets_no_gradient_through_is_named() -> None:
    def rounded(prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction.detach() - target).abs().mean()

    problem = two_heads()
    problem = replace(problem, tasks={**problem.tasks, "shade": Task(rounded)})
    with pytest.raises(
        ValueError, match=r"loss of task 'shade' depends on no .*, though its prediction does"
    ):
        fit(problem, SoftThreshold(0.5), steps=5)


@pytest.mark.parametrize("where", ["frozen", "features"])
def test_a_task_may_be_frozen_or_teach_its_head_alone(where: str) -> None:
    problem = cut_off("detached" if where == "frozen" else where)
    if where == "frozen":  # the head and, for this task, the path to it
        problem.model.where = "features"
        problem.model.shade.requires_grad_(False)
    half = [(x, {"shade": t["shade"]} if i % 2 else t) for i, (x, t) in enumerate(problem.train)]
    before = weights(problem)
    history = fit(replace(problem, train=half), steps=4, log_every=4)
    moved = not torch.equal(before["shade.0.weight"], problem.model.shade[0].weight)
    assert moved == (where == "features")
    assert set(history.rows[-1]["loss"]) == {"colour", "shade"}


def test_a_zero_without_a_gradient_is_a_batch_without_the_task() -> None:
    def safe(prediction: Tensor, target: Tensor) -> Tensor:
        valid = target > -1e3
        return (prediction - target)[valid].abs().mean() if valid.any() else torch.zeros(())

    made = []
    for how in ("ignored", "left out"):
        problem = two_heads()
        data = [(x, dict(t)) for x, t in problem.train]
        if how == "ignored":
            data[1][1]["shade"] = torch.full_like(data[1][1]["shade"], -1e4)
        else:
            del data[1][1]["shade"]
        tasks = {**problem.tasks, "shade": Task(safe)}
        history = fit(
            replace(problem, tasks=tasks, train=data), SoftThreshold(0.5), AdaptiveWeighting(), steps=6
        )
        made.append(weights(problem))
        assert history.ignored == ({"shade": 1} if how == "ignored" else {})
    assert equal(*made)


def test_a_loss_that_is_always_zero_without_a_gradient_is_an_error_after_an_epoch() -> None:
    problem = two_heads()
    problem = replace(problem, tasks={**problem.tasks, "shade": Task(lambda p, t: torch.zeros(()))})
    with pytest.raises(
        ValueError, match=r"'shade' was ignored in the first 6 batches: .*a zero without a gradient"
    ):
        fit(problem, steps=20)


def test_an_aggregator_is_not_asked_about_frozen_tasks() -> None:
    asked = []

    def mean(matrix: Tensor) -> Tensor:
        asked.append(len(matrix))
        return matrix.mean(0)

    problem = cut_off("features")
    problem.model.shade.requires_grad_(False)
    fit(problem, aggregator=mean, steps=2)
    assert asked == []
