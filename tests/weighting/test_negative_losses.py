"""Losses below zero, such as -cos: they are weighed as others are, by their size and by which way they go."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from problems import two_heads
from secateur import AdaptiveWeighting, DynamicWeightAverage, MinMax, Problem, Task, UncertaintyWeighting, fit
from secateur.weighting import Weighting


def minus_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    return -F.cosine_similarity(prediction.flatten(1), target.flatten(1)).mean()


def feed(weighting: Weighting, colour: list[float], shade: list[float], steps: int = 100) -> dict[str, float]:
    weighting.start(two_heads(), steps)
    found: dict[str, float] = {}
    for c, s in zip(colour, shade, strict=True):
        given = weighting({"colour": torch.tensor(c), "shade": torch.tensor(s)})
        found = {task: float(torch.as_tensor(weight).detach()) for task, weight in given.items()}
    return found


@pytest.mark.parametrize(
    "weighting",
    [AdaptiveWeighting(warmup=0.0), DynamicWeightAverage(), MinMax(), UncertaintyWeighting()],
    ids=lambda w: type(w).__name__,
)
def test_a_task_with_a_negative_loss_keeps_its_part_in_the_training(weighting: Weighting) -> None:
    made = two_heads()
    tasks = {"colour": made.tasks["colour"], "shade": Task(lambda p, t: minus_cosine(p, t) - 0.5)}
    rows = fit(Problem(made.model, tasks, made.train), None, weighting, steps=60, progress=False).rows
    assert 0.1 < rows[-1]["weight"]["shade"] < 10.0
    assert 0.1 < rows[-1]["weight"]["colour"] < 10.0


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_adaptive_weights_are_those_of_the_same_losses_above_zero(variant: str) -> None:
    def made() -> AdaptiveWeighting:
        return AdaptiveWeighting(window=3, warmup=0, variant=variant)  # type: ignore[arg-type]

    shade = [4.0, 4.4, 4.0, 4.4, 4.0, 4.2]
    colour = [1.0, 2.0, 1.0, 3.0, 2.0, 1.5]
    assert feed(made(), colour, [-v for v in shade]) == feed(made(), colour, shade)


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_a_loss_that_crosses_zero_is_said_once_and_weighs_within_bounds(variant: str) -> None:
    weighting = AdaptiveWeighting(window=5, warmup=0, variant=variant)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="the loss of 'shade' crosses zero") as said:
        found = feed(weighting, [1.0, 1.1] * 20, [0.1, -0.1] * 20)
    assert len(said) == 1
    assert all(0.05 < weight < 2.0 for weight in found.values())


def test_dynamic_weights_know_which_way_a_negative_loss_goes() -> None:
    found = feed(DynamicWeightAverage(window=1), [1.0, 1.0, 1.0], [-0.5, -0.8, -0.8])
    a, b = math.exp(1.0 / 2), math.exp(0.625 / 2)  # shade falls, colour stands still
    assert found == pytest.approx({"colour": 2 * a / (a + b), "shade": 2 * b / (a + b)})
    rising = feed(DynamicWeightAverage(window=1), [1.0, 1.0, 1.0], [-0.8, -0.5, -0.5])
    assert rising["shade"] > 1.0


@pytest.mark.parametrize("shade", [(0.1, -0.5), (-0.5, 0.1), (0.0, -0.5), (-0.5, 0.0)])
def test_dynamic_weights_of_a_loss_that_changed_its_sign_are_those_of_one_that_stands(
    shade: tuple[float, float],
) -> None:
    found = feed(DynamicWeightAverage(window=1), [1.0, 1.0, 1.0], [*shade, 1.0])
    assert found == pytest.approx({"colour": 1.0, "shade": 1.0})


@pytest.mark.parametrize("form", ["published", "kendall"])
@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_the_optimum_of_the_uncertainty_is_the_inverse_size(form: str, factor: float) -> None:
    problem = two_heads()
    problem.tasks["shade"] = Task(F.l1_loss, weight=factor)  # type: ignore[index]
    weighting = UncertaintyWeighting(form=form)  # type: ignore[arg-type]
    weighting.start(problem, 10)
    optimizer = torch.optim.Adam(weighting.param_groups(), lr=0.05)
    losses = {"colour": torch.tensor(4.0), "shade": torch.tensor(-0.1, requires_grad=True)}
    for _ in range(800):
        optimizer.zero_grad()
        given = weighting(losses)
        total = sum(problem.tasks[t].weight * given[t] * losses[t] for t in losses) + weighting.penalty()
        torch.as_tensor(total).backward()
        optimizer.step()
    scale = 0.5 if form == "kendall" else 1.0
    found = {t: float(torch.as_tensor(w).detach()) / scale for t, w in weighting(losses).items()}
    assert found == pytest.approx({"colour": 0.25, "shade": 10.0 / factor}, rel=1e-2)
    losses["shade"].grad = None
    given = weighting(losses)
    torch.as_tensor(given["shade"] * losses["shade"] + weighting.penalty()).backward()
    assert losses["shade"].grad is not None
    assert float(losses["shade"].grad) == float(torch.as_tensor(given["shade"]).detach()), "that of the loss"


def test_min_max_counts_a_negative_loss_from_its_first_values() -> None:
    """A constant changes no gradient: -0.5 and then -0.75 is 1 and then 0.5, as 0.5 and then 0.25 is."""
    options = {"gamma": 0.0, "beta": 10.0, "every": 1}
    below = feed(MinMax(**options), [2.0, 2.0, 2.0], [-0.5, -0.75, -0.75], steps=10)
    above = feed(MinMax(**options), [2.0, 2.0, 2.0], [0.5, 0.25, 0.25], steps=10)
    assert below == pytest.approx(above)
    worst = feed(MinMax(**options), [2.0, 1.0, 1.0], [-0.5, -0.5, -0.5], steps=10)
    equal = feed(MinMax(**options), [2.0, 2.0, 2.0], [-0.5, -0.5, -0.5], steps=10)
    assert worst["shade"] > equal["shade"], "shade has not fallen, colour has"
