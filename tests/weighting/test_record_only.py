"""A task that trains nothing (``Task.weight`` 0, or all frozen) has no say in how the others are weighed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from problems import two_heads
from secateur import AdaptiveWeighting, DynamicWeightAverage, MinMax, Problem, UncertaintyWeighting, fit
from secateur.training import Row
from secateur.weighting import Weighting, weighed

EACH = pytest.mark.parametrize(
    "make",
    [
        lambda: AdaptiveWeighting(window=3, warmup=0),
        lambda: DynamicWeightAverage(window=2),
        lambda: MinMax(gamma=0.0, beta=2.0, every=1, warmup=0.0),
        UncertaintyWeighting,
    ],
    ids=["adaptive", "dynamic", "min_max", "uncertainty"],
)


class Three(nn.Module):
    """Colour twice, and shade; ``of`` says which of them."""

    def __init__(self, model: nn.Module, of: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.of = model, of
        self.again = nn.Conv2d(5, 1, 1)
        nn.init.constant_(self.again.weight, 0.1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = self.model(x)
        found["again"] = self.again(found["colour"].detach())
        return {task: found[task] for task in self.of}


def three(of: tuple[str, ...], weight: float = 1.0, frozen: bool = False) -> Problem:
    made = two_heads()
    tasks = {**made.tasks, "again": replace(made.tasks["shade"], weight=weight)}
    model = Three(made.model, of)
    model.again.requires_grad_(not frozen)
    data = [(x, {t: ({**y, "again": y["shade"] + 3.0})[t] for t in of}) for x, y in made.train]
    return Problem(model, {t: tasks[t] for t in of}, data)


def trained(problem: Problem, weighting: Weighting) -> list[Row]:
    return fit(problem, None, weighting, steps=16, log_every=4, progress=False, schedule=lambda _: 1.0).rows


@EACH
@pytest.mark.parametrize("how", [{"weight": 0.0}, {"frozen": True}], ids=["record", "frozen"])
def test_weights_are_as_if_it_were_not_there(make: Callable[[], Weighting], how: dict) -> None:
    with_it = trained(three(("colour", "shade", "again"), **how), make())
    without = trained(three(("colour", "shade")), make())
    for row, other in zip(with_it, without, strict=True):
        assert {t: row["weight"][t] for t in ("colour", "shade")} == pytest.approx(other["weight"])
        assert row["weight"]["again"] == 1.0
        assert row["loss"]["again"] > 0
    assert with_it[-1]["weight"]["colour"] != 1.0


@EACH
def test_batches_that_have_nothing_else_change_nothing(make: Callable[[], Weighting]) -> None:
    problem = three(("colour", "shade", "again"), weight=0.0)
    data = [pair for x, y in problem.train for pair in ((x, y), (x, {"again": y["again"]}))]
    weighting = make()
    fit(replace(problem, train=data), None, weighting, steps=12, progress=False)
    state = weighting.state_dict()
    if isinstance(weighting, UncertaintyWeighting):
        assert state["s"].shape == (2,)
        assert state["s"].abs().max() < 1.0
    elif "seen" in state:
        assert state["seen"] == {"colour": 6, "shade": 6}


def test_which_tasks_those_are() -> None:
    assert weighed(three(("colour", "shade", "again"))) == ["colour", "shade", "again"]
    assert weighed(three(("colour", "shade", "again"), weight=0.0)) == ["colour", "shade"]
    assert weighed(three(("colour", "shade", "again"), frozen=True)) == ["colour", "shade"]
    all_zero = two_heads()
    tasks = {name: replace(task, weight=0.0) for name, task in all_zero.tasks.items()}
    assert weighed(replace(all_zero, tasks=tasks)) == ["colour", "shade"], "somebody has to be asked about"


def test_it_is_no_row_of_an_aggregation() -> None:
    made, rows = two_heads(), list[int]()
    tasks = {**made.tasks, "shade": replace(made.tasks["shade"], weight=0.0)}

    def first(matrix: Tensor) -> Tensor:
        rows.append(len(matrix))
        return matrix[torch.argmin(matrix.norm(dim=1))]  # as MGDA does where a row is zero

    problem = replace(made, tasks=tasks)
    before = problem.model.trunk[0].weight.detach().clone()
    fit(problem, steps=4, aggregator=first, progress=False)
    assert set(rows) <= {1}
    assert not torch.equal(before, problem.model.trunk[0].weight)
