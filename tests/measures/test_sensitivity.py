"""What each task loses as one part is pruned, on networks where the answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics import MeanAbsoluteError

from problems import two_heads
from secateur.measures import DeadTaskWarning, sensitivity
from secateur.measures.metrics import MeanOf
from secateur.problem.problem import Problem, Task
from secateur.runs.report import points
from secateur.runs.studies.sensitive import worst


def problem() -> Problem:
    made = two_heads()
    tasks = {
        "colour": Task(
            made.tasks["colour"].loss, {"size": MeanOf(lambda p, t: p.square().mean(), higher_is_better=True)}
        ),
        "shade": Task(made.tasks["shade"].loss, {"mae": MeanAbsoluteError()}),
    }
    return Problem(made.model, tasks, made.train, made.train)


def test_a_head_is_its_own_task_and_the_trunk_everybodys() -> None:
    found = sensitivity(problem(), densities=(0.1,))
    assert set(found) == {"backbone", "colour", "shade"}
    assert found["colour"][0.1]["shade"] == found["shade"][0.1]["colour"] == 0
    assert found["colour"][0.1]["colour"] < -10, "a tenth of the weights predicts less"
    assert all(found["backbone"][0.1].values())


def test_whole_parts_lose_nothing_and_the_network_is_left_as_it_was() -> None:
    made = problem()
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    found = sensitivity(made, "layer", (1.0, 0.5))
    assert len(found) == 5
    assert all(value == 0 for levels in found.values() for value in levels[1.0].values())
    assert all(torch.equal(before[name], value) for name, value in made.model.state_dict().items())


def test_the_share_is_of_the_weights_that_are_left() -> None:
    made = problem()
    weight = made.model.colour.weight
    with torch.no_grad():
        weight.flatten()[: weight.numel() // 2] = 0
    seen: list[int] = []
    sensitivity(
        made, densities=(0.5,), on_done=lambda *_: seen.append(int(made.model.colour.weight.count_nonzero()))
    )
    assert set(seen) == {weight.numel() - weight.numel() // 2}, "restored by then, zeros as they were"


def test_a_metric_that_is_zero_as_it_is_counts_for_nothing() -> None:
    made = problem()
    with torch.no_grad():
        made.model.colour.weight.zero_()
        made.model.colour.bias.zero_()
    found = sensitivity(made, densities=(0.5,))
    assert math.isnan(found["backbone"][0.5]["colour"])
    assert found["backbone"][0.5]["shade"]


def test_a_wrong_density_is_refused() -> None:
    with pytest.raises(ValueError, match="density"):
        sensitivity(problem(), densities=(0.5, 1.5))


def test_parts_that_kill_a_task_are_measured_without_a_word() -> None:
    made = problem()
    with torch.no_grad():
        made.model.shade[2].weight.zero_()
    with pytest.warns(DeadTaskWarning) as said:
        sensitivity(made, densities=(0.5, 0.1))
    assert len(said) == 1, "as the network is"


def test_parts_that_do_not_tell_themselves_apart_are_not_ranked() -> None:
    levels = {"stem": {0.1: {"a": -3.0, "b": 0.0}}, "head": {0.1: {"a": -1.0, "b": 0.0}}}
    (most, same) = worst(levels, ["a", "b"])
    assert most == f"Each task depends most on: a on stem ({points(-3.0)})."
    assert same == "No part tells itself from the others for: b."
