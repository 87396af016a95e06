"""A pattern on layers whose weight lies the other way round."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import l1_loss

from secateur import DiSparse, GradualMagnitude, OneShot, Problem, SoftThreshold, Task


def upsampling() -> Problem:
    up = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2, stride=2))
    x = torch.rand(2, 3, 6, 6)
    heads = nn.ModuleDict({"depth": up})
    heads.forward = lambda x: {"depth": up(x)}  # type: ignore[method-assign]
    return Problem(heads, {"depth": Task(l1_loss)}, [(x, {"depth": torch.rand(2, 8, 8, 8)})])


@pytest.mark.parametrize(
    "method",
    [
        SoftThreshold(0.5, pattern="4x1"),
        GradualMagnitude(0.5, pattern="2:4"),
        OneShot(0.5, pattern="1x4"),
        DiSparse(0.5, pattern="4x1"),
    ],
    ids=lambda m: type(m).__name__,
)
def test_transposed_convolutions_are_said_to_have_it_along_the_other_axis(method: SoftThreshold) -> None:
    with pytest.warns(UserWarning, match=r"in depth\.2\.weight the pattern lies along the other axis"):
        method.start(upsampling(), 10)


@pytest.mark.parametrize("pattern", ["unstructured", "2x2"])
def test_nothing_is_said_of_patterns_that_are_the_same_both_ways(pattern: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SoftThreshold(0.5, pattern=pattern).start(upsampling(), 10)
