"""A checkpoint of a training that something else decides is refused: weights of tasks, schedules that functions make, groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from problems import equal, two_heads, weights
from secateur import GroupLasso, Problem, fit
from secateur.pruning.groups import Groups, input_groups
from secateur.pruning.schedules import WarmUp, constant, staircase


def heavier(factor: float) -> Problem:
    problem = two_heads()
    shade = replace(problem.tasks["shade"], weight=factor)
    return replace(problem, tasks={**problem.tasks, "shade": shade})


def swapped(groups: Groups) -> Groups:
    index = {name: ids.flip(0) for name, ids in groups.index.items()}
    return replace(groups, index=index)


def by(factor: float, progress: float) -> float:
    return factor


TRAININGS: dict[str, tuple[Callable[[], Any], Callable[[], Any], str]] = {
    "weight": (lambda: (heavier(1.0), {}), lambda: (heavier(20.0), {}), "weight of task shade is None there and 20.0 here"),
    "staircase": (
        lambda: (two_heads(), {"schedule": staircase(0.5)}), lambda: (two_heads(), {"schedule": staircase(0.3)}), "course of schedule"
    ),
    "inside": (
        lambda: (two_heads(), {"schedule": WarmUp(0.1)}), lambda: (two_heads(), {"schedule": WarmUp(0.1, then=constant)}), "course of schedule"
    ),
    "partial": (
        lambda: (two_heads(), {"schedule": partial(by, 0.5)}), lambda: (two_heads(), {"schedule": partial(by, 0.6)}), "schedule.0 is 0.5 there and 0.6"
    ),
    "groups": (
        lambda: (p := two_heads(), {"method": GroupLasso(strength=1e-3, groups=input_groups(p))}),
        lambda: (p := two_heads(), {"method": GroupLasso(strength=1e-3, groups=swapped(input_groups(p)))}),
        "method.groups.index is",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("first", "second", "said"), TRAININGS.values(), ids=TRAININGS.keys())
def test_another_training_is_refused_and_the_same_goes_on(
    first: Callable[[], Any], second: Callable[[], Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "on.ckpt"
    problem, given = first()
    fit(problem, steps=4, checkpoint=path, **given)
    again, same = first()
    fit(again, steps=4, checkpoint=path, **same)
    assert equal(weights(problem), weights(again))
    other, changed = second()
    with pytest.raises(ValueError, match=said):
        fit(other, steps=4, checkpoint=path, **changed)


def test_what_has_no_signature_is_told_by_its_name() -> None:
    problem = two_heads()
    fit(problem, steps=2, schedule=partial(by, 1.0), aggregator=partial(torch.mean, dim=0))
