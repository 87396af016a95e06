"""A task that training teaches nothing is an error, unless its parameters were frozen on purpose or the batch has none of its labels."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import pytest
import torch
from torch import Tensor

from problems import TwoHeads, equal, two_heads, weights
from secateur import AdaptiveWeighting, Problem, Pruning, SoftThreshold, Task, fit


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


def looped(forgotten: str, steps: int = 4, scaler: Any = None, rate: float = 0.1, **given: Any) -> Problem:
    """A loop of one's own in which something is forgotten."""
    problem = two_heads()
    with Pruning(problem, SoftThreshold(0.5), steps=steps, **given) as pruning:
        optimizer = pruning.attach(torch.optim.SGD(pruning.groups(), rate))
        other = torch.optim.SGD(problem.model.parameters(), rate)
        for x, targets in islice(cycle(problem.train), steps):
            loss = pruning.loss(problem.model(x), targets)
            if forgotten != "backward":
                (scaler.scale(loss) if scaler else loss).backward()
            if forgotten == "order":
                optimizer.zero_grad(set_to_none=False)
            if scaler:
                scaler.step(optimizer)
                scaler.update()
            elif forgotten != "step":
                (other if forgotten == "attached" else optimizer).step()
            optimizer.zero_grad()
            pruning.step()
    return problem


@pytest.mark.parametrize("forgotten", ["step", "attached"])
@pytest.mark.parametrize("steps", [4, 100])
def test_an_optimizer_that_never_steps_is_an_error(forgotten: str, steps: int) -> None:
    said = rf"called {min(steps, 50)} times, .* never stepped with a gradient; call loss.backward\(\) and optimizer.step\(\)"
    with pytest.raises(RuntimeError, match=said):
        looped(forgotten, steps)


def test_an_early_end_is_no_excuse() -> None:
    problem = two_heads()
    x, targets = problem.train[0]
    pruning = Pruning(problem, SoftThreshold(0.5), steps=9).enter()
    pruning.attach(torch.optim.SGD(pruning.groups(), 0.1))
    pruning.loss(problem.model(x), targets).backward()
    pruning.step()
    with pytest.raises(RuntimeError, match="was called once, and the optimizer"):
        pruning.leave(early=True)


def test_a_step_without_a_backward_pass_is_an_error_at_once() -> None:
    with pytest.raises(
        RuntimeError, match="stepped, and no parameter that it trains has a gradient; call loss"
    ):
        looped("backward", 100)


def test_gradients_that_are_always_zero_are_said() -> None:
    with pytest.warns(
        UserWarning, match=r"Every gradient was zero in all steps.* comes after optimizer.step"
    ):
        looped("order")


def test_a_scaler_that_skips_the_first_steps_is_no_mistake() -> None:
    looped("", 20, torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=50))
    looped("", rate=0.0)
    looped("", 4, accumulate=2)
