"""An optimizer, a setting and a teacher that are not what is expected."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from problems import TwoHeads, equal, two_heads, weights
from secateur import (
    Dense,
    DiSparse,
    Distillation,
    GroupLasso,
    KeepZeros,
    LearnedThreshold,
    OneShot,
    Problem,
    Pruning,
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


class Spectral(TwoHeads):
    """As a Fourier neural operator: complex weights beside real ones, one of them in a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.modes = nn.Parameter(0.1 * torch.randn(16, 16, dtype=torch.cfloat))
        self.mix = nn.Linear(16, 16, dtype=torch.cfloat)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = torch.relu(self.trunk(x))
        found = torch.einsum("bchw,cd->bdhw", torch.fft.rfft2(features), self.modes)
        found = torch.fft.irfft2(self.mix(found.movedim(1, -1)).movedim(-1, 1), s=features.shape[-2:])
        return {"colour": self.colour(features + found), "shade": self.shade(features + found)}


@pytest.mark.parametrize(
    "make", [lambda: SoftThreshold(0.2), lambda: DiSparse(0.2), lambda: GroupLasso(density=0.6)]
)
def test_complex_weights_are_trained_and_stay_dense(make: Any) -> None:
    torch.manual_seed(0)
    problem = replace(two_heads(), model=Spectral())
    before = weights(problem)
    with pytest.warns(
        UserWarning, match=r"because they are complex: \['mix'\]; they are trained and stay dense"
    ):
        fit(problem, make(), steps=10)
    for name in ("modes", "mix.weight"):
        now = problem.model.get_parameter(name)
        assert bool((now != before[name]).any()), name
        assert bool((now != 0).all()), name
    with torch.no_grad():
        problem.model.modes[0, 0] = torch.nan
    with (
        pytest.warns(UserWarning, match="complex"),
        pytest.raises(FloatingPointError, match="modes"),
        Pruning(problem, KeepZeros(), steps=3) as pruning,
    ):
        pruning.leave(early=True)
