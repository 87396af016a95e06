"""A task that trains nothing (``Task.weight`` 0, or all frozen) has no say in how the others are weighed; its loss may be infinite."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from problems import equal, two_heads, weights
from secateur import (
    AdaptiveWeighting,
    DynamicWeightAverage,
    Fixed,
    MinMax,
    OneShot,
    Problem,
    Pruning,
    UncertaintyWeighting,
    fit,
)
from secateur.pruning import Sparsifier
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


def recording(loss: Callable[[Tensor, Tensor], Tensor], weight: float = 0.0) -> Problem:
    made = two_heads()
    return replace(
        made, tasks={**made.tasks, "shade": replace(made.tasks["shade"], loss=loss, weight=weight)}
    )


def infinite(prediction: Tensor, target: Tensor) -> Tensor:
    return l1_loss(prediction, target) * math.inf


def rooted(prediction: Tensor, target: Tensor) -> Tensor:
    """Finite, with an infinite gradient."""
    return (prediction * 0).sqrt().sum() + l1_loss(prediction, target)


@pytest.mark.parametrize("weighting", [None, Fixed({"shade": 0.0})], ids=["task", "fixed"])
@pytest.mark.parametrize("method", [None, OneShot(0.2, "snip")], ids=["dense", "snip"])
@pytest.mark.parametrize("loss", [infinite, rooted])
@pytest.mark.filterwarnings(
    "ignore:.*shade.* score the same"
)  # nothing of it is worth anything to the others
def test_it_changes_nothing(
    loss: Callable[[Tensor, Tensor], Tensor], method: Sparsifier | None, weighting: Weighting | None
) -> None:
    weight = 0.0 if weighting is None else 1.0
    if method is not None and weight:
        pytest.skip("SNIP looks at tasks as they weigh by themselves")
    bad, good = recording(loss, weight), recording(l1_loss, weight)
    rows = [fit(p, method, weighting, steps=4, log_every=1, progress=False).rows for p in (bad, good)]
    assert equal(weights(bad), weights(good))
    assert rows[0][-1]["loss"]["shade"] == math.inf or loss is rooted
    assert rows[0][-1]["loss"]["colour"] == rows[1][-1]["loss"]["colour"]


def test_it_is_in_the_record_and_a_zero_in_the_sum() -> None:
    problem = recording(infinite)
    with Pruning(problem, steps=1) as pruning:
        pruning.attach(torch.optim.Adam(pruning.groups()))
        x, targets = problem.train[0]
        terms = pruning.terms(problem.model(x), targets)
        assert terms.losses["shade"] == math.inf
        assert terms.weighed["shade"] == 0.0
        assert terms.total == terms.losses["colour"]
        terms.total.backward()
        assert not problem.model.shade[0].weight.grad.any()
        with torch.no_grad():
            assert pruning.terms(problem.model(x), targets).total.isfinite()
        pruning.leave(early=True)


def test_tasks_that_are_frozen_in_turn_may_learn_nothing_meanwhile() -> None:
    problem = two_heads()
    with Pruning(problem, steps=6) as pruning:
        optimizer = pruning.attach(torch.optim.Adam(pruning.groups(), lr=1e-3))
        for step in range(6):
            problem.model.trunk.requires_grad_(step < 1)
            problem.model.colour.requires_grad_(step % 2 == 0)
            problem.model.shade.requires_grad_(step % 2 == 1 or step < 1)
            x, targets = problem.train[step]
            pruning.loss(problem.model(x), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            pruning.step()
