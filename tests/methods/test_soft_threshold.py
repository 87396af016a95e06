"""Thresholds that differ by what a weight at them is worth: which layers have a say, and when they are looked at."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from problems import TwoHeads, batches, tasks, two_heads
from secateur import SoftThreshold, fit
from secateur.problem.problem import Problem
from secateur.pruning.allocation import cost_offsets


class WithSpare(TwoHeads):
    """Has a layer that no task reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(4, 4)


LAYERS = {
    "trunk.0",
    "trunk.4",
    "colour",
    "shade.0",
}  # shade.2 has 8 weights, which may never be near the threshold


def with_offset(method: SoftThreshold) -> set[str]:
    return {name for name, offset in method._offset.items() if float(offset) != 0.0}


def test_a_component_of_unknown_cost_has_no_offset_and_no_say() -> None:
    costs = {"a": torch.tensor(1.0), "b": torch.tensor(3.0), "c": torch.tensor(torch.nan)}
    sizes = {"a": 1, "b": 3, "c": 100}
    found = cost_offsets(costs, sizes, rate=0.5, bound=1.0)
    assert {c: float(u) for c, u in found.items()} == {"a": 0.75, "b": -0.25, "c": 0.0}
    nothing: dict[str, Tensor] = {c: torch.tensor(torch.nan) for c in sizes}
    assert all(float(u) == 0.0 for u in cost_offsets(nothing, sizes, rate=0.5, bound=1.0).values())


def test_a_layer_that_no_task_reaches_leaves_the_others_their_offsets() -> None:
    torch.manual_seed(0)
    problem, method = Problem(WithSpare(), tasks(), batches(), [], []), SoftThreshold(0.3)
    fit(problem, method, steps=40)
    assert with_offset(method) - {"shade.2"} == LAYERS


def test_every_layer_is_looked_at_when_tasks_take_turns() -> None:
    """The period of the batches divides that of the looks; a head without a gradient is looked at in the next batch."""
    method = SoftThreshold(0.3)
    fit(two_heads(partial=True), method, steps=40)
    assert with_offset(method) - {"shade.2"} == LAYERS
