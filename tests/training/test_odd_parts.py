"""An optimizer, a setting and a teacher that are not what is expected."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from problems import TwoHeads, equal, two_heads, weights
from secateur import (
    Dense,
    Distillation,
    GroupLasso,
    LearnedThreshold,
    OneShot,
    Problem,
    SoftThreshold,
    evaluate,
    fit,
)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda m: torch.optim.Adam(m.parameters()),
            r"optimizer is Adam, an optimizer that is made already; .*lambda groups: torch.optim.Adam\(",
        ),
        (lambda m: "adam", "optimizer is 'adam'; .*lambda groups: torch.optim.AdamW"),
        (
            lambda m: lambda groups: None,
            "The optimizer is NoneType; it must be a torch.optim.Optimizer made of the groups",
        ),
    ],
)
def test_an_optimizer_that_is_no_function_of_groups_is_said(make: Any, match: str) -> None:
    problem = two_heads()
    with pytest.raises(ValueError, match=match):
        fit(problem, SoftThreshold(0.2), steps=2, optimizer=make(problem.model))
    fit(problem, SoftThreshold(0.2), steps=2, optimizer=partial(torch.optim.AdamW, lr=1e-3))


def test_parts_in_the_wrong_place_are_said() -> None:
    problem = two_heads()
    for arguments, match in (
        ((problem, "soft"), "method is str; give a Sparsifier"),
        ((problem.model,), "problem is TwoHeads; give a Problem"),
    ):
        with pytest.raises(ValueError, match=match):
            fit(*arguments, steps=1)
    with pytest.raises(ValueError, match="evaluate: problem is TwoHeads; give a Problem"):
        evaluate(problem.model)


@pytest.mark.parametrize("method", [SoftThreshold, GroupLasso, OneShot, LearnedThreshold])
def test_a_sparsity_is_told_the_density(method: Any) -> None:
    with pytest.raises(TypeError, match=rf"{method.__name__}: sparsity is 0\.9, .*density=0\.1\."):
        method(sparsity=0.9)
    with pytest.raises(TypeError, match="unexpected keyword argument 'densty'"):
        method(densty=0.9)
    with pytest.raises(TypeError, match=r"takes no arguments, not \['sparsity'\]"):
        Dense(sparsity=0.9)


def test_a_teacher_is_called_as_the_model_is() -> None:
    problem, teacher = two_heads(), two_heads(seed=1).model

    class Two(TwoHeads):
        def forward(self, x: Tensor, scale: float) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return tuple(super().forward(x * scale).values())

    made = []
    for kind in (TwoHeads, Two):
        torch.manual_seed(0)
        student, follows = kind(), kind()
        follows.load_state_dict(teacher.state_dict())
        call = (
            None if kind is TwoHeads else lambda m, x: dict(zip(("colour", "shade"), m(x, 1.0), strict=True))
        )
        own = Problem(student, problem.tasks, problem.train, call=call)
        fit(own, SoftThreshold(0.2), steps=8, distillation=Distillation(follows))
        made.append(weights(own))
    assert equal(*made)
    odd = Two()
    odd.forward = lambda x: (x, x)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match=r"The teacher returned tuple of 2 .*it must return a dict"):
        fit(two_heads(), steps=1, distillation=Distillation(odd))
