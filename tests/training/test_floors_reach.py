"""Floors whose search leads to a density that the method cannot have."""

from __future__ import annotations

import pytest
from torchmetrics import MeanAbsoluteError

from problems import equal, two_heads, weights
from secateur.methods import GradualMagnitude, LotteryTicket, OneShot
from secateur.problem.components import prunable
from secateur.problem.problem import Problem, Task
from secateur.pruning.sparsifier import Sparsifier
from secateur.training.fit import fit


def measured() -> Problem:
    plain = two_heads()
    tasks = {**plain.tasks, "shade": Task(plain.tasks["shade"].loss, {"mae": MeanAbsoluteError()})}
    return Problem(plain.model, tasks, plain.train, plain.val)


IMPOSSIBLE = {"shade": {"mae": 1e-6}}


@pytest.mark.parametrize(
    "method",
    [
        GradualMagnitude(0.5, pattern="2:4"),
        OneShot(0.4, "magnitude", pattern="2:4"),
        LotteryTicket(0.5, pattern="2:4"),
        GradualMagnitude(0.3, distribution={"backbone": 0.3, "colour": 0.3, "shade": 0.3}),
    ],
    ids=["gradual", "one_shot", "lottery_ticket", "all_named"],
)
def test_the_search_ends_dense_where_no_more_can_be_had(method: Sparsifier) -> None:
    problem, dense = measured(), measured()
    fit(dense, steps=6)
    history = fit(problem, method, steps=6, floors={"shade": 0.0}, reference=IMPOSSIBLE, tries=5)
    first, last = history.attempts
    assert first.stopped_by == ("shade",)
    assert not first.unreachable
    assert last.density > first.density
    assert last.unreachable
    assert (last.lost, last.stopped_by) == ({}, ())
    assert last.to_dict()["unreachable"] == last.unreachable
    assert equal(weights(problem), weights(dense))


def test_the_best_so_far_is_kept() -> None:
    problem = measured()
    history = fit(problem, GradualMagnitude(0.1, pattern="2:4"), steps=6, floors={"shade": 0.9}, tries=5)
    assert [bool(a.unreachable) for a in history.attempts] == [False]
    size = sum(p.numel() for p in prunable(problem.model).values())
    assert sum(int(p.count_nonzero()) for p in prunable(problem.model).values()) == round(0.1 * size)


def test_what_was_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="this pattern it can be"):
        fit(
            measured(),
            GradualMagnitude(0.8, pattern="2:4"),
            steps=6,
            floors={"shade": 0.9},
            reference=IMPOSSIBLE,
        )
