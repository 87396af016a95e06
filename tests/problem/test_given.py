"""Loaders of all kinds, and what a Problem or a Task cannot be made of."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from problems import TwoHeads, tasks, two_heads
from secateur import Problem, SoftThreshold, Task, components, density, fit


class Endless(IterableDataset):
    def __iter__(self) -> Any:
        return iter(two_heads().train)


class Once:
    """Reads on where it stands: one generator for all passes."""

    def __init__(self) -> None:
        self.batches = (batch for batch in two_heads().train)

    def __iter__(self) -> Any:
        return self.batches


def test_loaders_of_all_kinds() -> None:
    endless = Problem(two_heads().model, tasks(), DataLoader(Endless(), batch_size=None))
    fit(endless, SoftThreshold(0.2), steps=8)
    assert density(endless.model, components(endless)).overall == pytest.approx(0.2, abs=0.0005)
    with pytest.raises(ValueError, match="epochs needs a loader with a length; give steps"):
        fit(endless, epochs=1)
    with pytest.raises(
        ValueError, match="train gives the same iterator each time, so it can be read only once"
    ):
        fit(Problem(two_heads().model, tasks(), Once()), steps=2)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"model": TwoHeads}, "model is TwoHeads, a class"),
        ({"tasks": [Task(F.l1_loss)]}, r"tasks is list; give \{name: Task\(loss\)\}"),
        ({"tasks": {"colour": F.cross_entropy}}, r"tasks\['colour'\] is function; give a Task"),
        ({"train": None}, "train is NoneType"),
        ({"train": lambda: []}, "train is function; call it in the __iter__ of a class"),
        ({"train": {"color": []}}, r"train has loaders for \['color'\], but the tasks are"),
        ({"train": {}}, "train is empty"),
        ({"val": iter([])}, "val is a one-shot iterator"),
        ({"unpack": {}}, r"unpack is dict; give a function batch -> \(x, \{task: target\}\)"),
        ({"call": "forward"}, "call is str"),
    ],
)
def test_parts_of_a_problem_that_are_something_else(arguments: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Problem(**({"model": TwoHeads(), "tasks": tasks(), "train": []} | arguments))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Task("cross_entropy"), "loss is 'cross_entropy'; give a function"),
        (lambda: Task(nn.CrossEntropyLoss), r"loss is CrossEntropyLoss, a class; give an object of it"),
        (lambda: Task(F.l1_loss, {"mae": "mae"}), "metric 'mae' is 'mae'"),
        (
            lambda: Task(F.l1_loss, [F.l1_loss, F.l1_loss]),
            r"metrics are \['l1_loss', 'l1_loss'\]; give them names",
        ),
        (lambda: Task(F.l1_loss, lambda p, t: 0.0), "give them names"),
    ],
)
def test_parts_of_a_task_that_are_something_else(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()
