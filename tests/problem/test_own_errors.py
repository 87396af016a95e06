"""Errors of the user's own code are what the user sees, with their line; ours are of calls that could not be made."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import TwoHeads, equal, two_heads, weights
from secateur import Problem, SoftThreshold, Task, fit


class Broken(TwoHeads):
    def __init__(self, fault: Any) -> None:
        super().__init__()
        self.fault = fault

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {**super().forward(x), "more": self.fault(self, x)}


def raised(model: nn.Module, x: Tensor) -> Any:
    raise ValueError("the positions are not sorted")


def of_none(model: nn.Module, x: Tensor) -> Any:
    return None + x


def unknown(model: nn.Module, x: Tensor) -> Any:
    return model.missing(x)


def of_shapes(model: nn.Module, x: Tensor) -> Any:
    return torch.cat([x, x[:, :, 1:]])


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(raised, ValueError), (of_none, TypeError), (unknown, AttributeError), (of_shapes, RuntimeError)],
)
def test_an_error_of_the_models_own_code_is_left_as_it_is(fault: Any, kind: type[Exception]) -> None:
    problem = two_heads()
    with pytest.raises(kind) as caught:
        fit(Problem(Broken(fault), problem.tasks, problem.train), steps=2)
    assert type(caught.value) is kind
    assert fault.__name__ in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert caught.value.__notes__ == [
        "This was raised in the model's forward pass of Tensor (4, 3, 8, 8) float32."
    ]


def test_what_a_loss_or_unpack_raises_by_itself_is_left_as_it_is() -> None:
    def refuse(*_: Any) -> Any:
        raise ValueError("no class 7 in this release")

    problem = two_heads()
    for given in ({"unpack": refuse}, {"tasks": {**problem.tasks, "shade": Task(refuse)}}):
        with pytest.raises(ValueError, match=r"^no class 7 in this release$"):
            fit(
                Problem(**{"model": problem.model, "tasks": problem.tasks, "train": problem.train} | given),
                steps=2,
            )


def test_a_mapping_that_the_model_takes_is_not_blamed() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 1)

        def forward(self, x: Any) -> Any:
            return {"a": self.head(x["left"] + x["rigth"])}

    data = [({"left": torch.ones(2, 3), "right": torch.ones(2, 3)}, {"a": torch.ones(2, 1)})]
    with pytest.raises(KeyError, match="rigth"):
        fit(Problem(Named(), {"a": Task(F.mse_loss)}, data), steps=1)


def test_a_refused_first_batch_leaves_buffers_as_they_were() -> None:
    problem = two_heads()
    before = weights(problem)
    wrong = [(x, {**t, "colour": t["colour"] + 100}) for x, t in problem.train]
    with pytest.raises((ValueError, IndexError)):
        fit(Problem(problem.model, problem.tasks, wrong), SoftThreshold(0.5), steps=4)
    assert equal(before, weights(problem))
