"""What no network of this shape can meet is refused before anything trains, with the true smallest number and what keeps it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from problems import equal, two_heads, weights
from secateur import Budget, Problem, Task, prune
from secateur.budget import BudgetError, rounds

QUICK: dict[str, Any] = {"batches": 2, "progress": False}


class Joined(nn.Module):
    """A normalisation in ``groups`` over the channels of two convolutions."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.a, self.t = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(groups, 24)
        self.b = nn.Conv2d(24, 24, 3, padding=1)
        self.seg, self.depth = nn.Conv2d(24, 5, 1), nn.Conv2d(24, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = torch.relu(self.norm(torch.cat([self.a(x), self.t(x)], 1)))
        z = torch.relu(self.b(z))
        return {"seg": self.seg(z), "depth": self.depth(z)}


def joined(groups: int) -> Problem:
    torch.manual_seed(0)
    data = [
        (torch.randn(2, 3, 8, 8), {"seg": torch.randn(2, 5, 8, 8), "depth": torch.randn(2, 2, 8, 8)})
        for _ in range(2)
    ]
    return Problem(Joined(groups), {"seg": Task(mse_loss), "depth": Task(l1_loss)}, data, data)


def apart(problem: Problem) -> Problem:
    """The best channels of both convolutions in different blocks; the smallest network has the block that both have a part of."""
    with torch.no_grad():
        for weight in (problem.model.a.weight[0], problem.model.t.weight[7]):
            weight.mul_(100)
    return problem


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("it was trained")


def least(problem: Problem, kind: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The smallest number that a refusal names, and what it says."""
    with monkeypatch.context() as patched:
        patched.setattr(rounds, "fit", never)
        with pytest.raises(BudgetError) as caught:
            prune(problem, Budget(**{kind: 2}), steps=8, **QUICK)
    found = re.search(
        rf"the smallest network that prune makes of this shape has ([\d,]+) {kind}, and 2 {kind} are asked",
        str(caught.value),
    )
    assert found is not None, str(caught.value)
    return int(found[1].replace(",", "")), str(caught.value)


@pytest.mark.parametrize(
    "made", [two_heads, lambda: joined(4), pytest.param(lambda: apart(joined(4)), marks=pytest.mark.slow)]
)
def test_one_below_the_smallest_is_refused_before_training_and_the_smallest_is_had(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = made()
    before = weights(problem)
    smallest, _ = least(problem, "params", monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(rounds, "fit", never)
        with pytest.raises(BudgetError, match=f"has {smallest:,} params"):
            prune(problem, Budget(params=smallest - 1), steps=8, **QUICK)
    assert equal(before, weights(problem))
    for asked in (smallest, smallest + 1, smallest + 7, 2 * smallest):
        small = prune(problem, Budget(params=asked), steps=0, score="magnitude", **QUICK)
        assert smallest <= sum(p.numel() for p in small.parameters()) <= asked


def test_the_layers_that_keep_the_most_are_named_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    _, one = least(joined(1), "macs", monkeypatch)
    assert "left a.weight (50%) keeps all 3 inputs and 16 of 16 outputs (16 live and die together)" in one
    assert "b.weight (25%) keeps 24 of 24 inputs (24 live and die together) and 1 of 24 outputs" in one
    assert "where a normalisation" in one
    _, four = least(joined(4), "macs", monkeypatch)
    assert re.search(
        r"b\.weight \(\d+%\) keeps 6 of 24 inputs \(6 live and die together\) and 1 of 24", four
    ), four
    _, plain = least(two_heads(), "macs", monkeypatch)
    assert "together" not in plain
