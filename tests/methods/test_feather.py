"""Feather's threshold: its values by hand and against the formula, its gradients, and its recipe."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from problems import two_heads
from secateur import SoftThreshold, fit
from secateur.problem.components import prunable
from secateur.pruning.effective import attach
from secateur.pruning.threshold import Shrinkage, shrink
from secateur.runs.config import build, parse, resolved


def test_values_by_hand() -> None:
    w = torch.tensor([[-2.0, -1.0, 0.0], [1.0, 3.0, 1.5]])
    found = shrink(w, torch.tensor(1.0), "feather")
    assert found[0].tolist() == pytest.approx([-(7 ** (1 / 3)), 0.0, 0.0])
    assert found[1].tolist() == pytest.approx([0.0, 26 ** (1 / 3), 2.375 ** (1 / 3)])
    assert torch.equal(shrink(w, torch.tensor(0.0), "feather"), w)


@example([0.0, 1e-45], 1e-45)  # below the smallest normal number
@example([1e-40, 3e-40, -1e-30], 2e-40)
@given(st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=20), st.floats(0, 5, width=32))
@settings(max_examples=50, deadline=None)
def test_zero_exactly_where_soft_is_and_between_soft_and_hard(values: list[float], alpha: float) -> None:
    w, level = torch.tensor([values]), torch.tensor(alpha)
    soft, feather = shrink(w, level), shrink(w, level, "feather")
    assert torch.equal(feather == 0, soft == 0)
    assert (feather.abs() >= soft.abs() * (1 - 1e-5)).all()
    assert (feather.abs() <= w.abs()).all()
    assert (feather * w >= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_next_number_above_the_threshold_survives(dtype: torch.dtype) -> None:
    for size in (1e-30, 0.3, 1.0, 1.999):
        level = torch.tensor(size, dtype=dtype)
        above = torch.nextafter(level, torch.full_like(level, 9.0))
        found = shrink(torch.stack([level, above, -above]).view(1, 3), level.float(), "feather")
        if dtype is torch.float64:
            found = shrink(torch.stack([level, above, -above]).view(1, 3), level, "feather")
        assert found.dtype == dtype
        assert [bool(x) for x in (found != 0).flatten()] == [False, True, True]
        assert found[0, 1] == -found[0, 2] > 0


@pytest.mark.parametrize("below", [1.0, 0.5, 0.0])
def test_pruned_weights_have_a_share_of_the_gradient(below: float) -> None:
    layer = torch.nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.1, 1.0, -2.0, 0.0]]))
    attach(layer, {"weight": Shrinkage(torch.tensor(0.5), True, "feather", below=below)})
    layer(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
    assert next(layer.parameters()).grad.tolist() == [[below, 2.0, 3.0, 4 * below]]


@pytest.mark.parametrize(
    ("density", "below"), [("0.2", 1.0), ("0.1", 1.0), ("0.05", 1.0), ("0.049", 0.5), ("0.01", 0.5)]
)
def test_the_recipe_is_as_published(density: str, below: float) -> None:
    method = build("method", resolved(parse(["feather", "--method.density", density])))
    assert isinstance(method, SoftThreshold)
    assert (method.by, method.shrinkage, method.allocation) == ("all", "feather", "common")
    assert (list(method.ramp), method.freeze, method.straight_through) == ([0.0, 0.5], 1.0, True)
    for made, share in ((method, below), (SoftThreshold(float(density)), 1.0)):  # of Feather alone
        problem = two_heads(width=40)
        made.start(problem, 10)
        made._level["trunk.4.weight"].fill_(1e9)
        layer = problem.model.get_submodule("trunk.4")
        layer.weight.sum().backward()
        made.undo()
        assert torch.equal(layer.weight.grad, torch.full_like(layer.weight, share))


def test_weights_come_and_go_after_the_ramp_and_the_density_stays() -> None:
    """From half of the training on the density is that asked, and another set of weights has it; the last is kept."""
    problem, seen = two_heads(), []

    class Watch(SoftThreshold):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            values = [problem.model.get_submodule(n.rpartition(".")[0]).weight for n in self.weights]
            seen.append(torch.cat([v.detach().flatten() for v in values]) != 0)
            assert (self.masks is not None) == (step == 60)

    fit(problem, Watch(0.2, "all", (0.0, 0.5), "feather", "common", freeze=1.0), steps=60)
    size = sum(w.numel() for w in prunable(problem.model).values())
    assert {int(mask.sum()) for mask in seen[29:]} == {round(0.2 * size)}
    assert not torch.equal(seen[29], seen[58])
    assert torch.equal(seen[-1], torch.cat([w.flatten() for w in prunable(problem.model).values()]) != 0)


@pytest.mark.parametrize("allocation", ["cost", "scale"])
def test_offsets_stand_still_after_the_ramp(allocation: Literal["cost", "scale"]) -> None:
    """Weights that hardly move any more, since the rate goes to zero, could not follow thresholds that do."""
    offsets: list[list[float]] = []

    class Watch(SoftThreshold):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            offsets.append(self._offsets.tolist())

    fit(two_heads(), Watch(0.2, ramp=(0.0, 0.5), allocation=allocation, freeze=1.0), steps=60)
    assert offsets[9] != offsets[29], "they move before"
    assert all(later == offsets[29] for later in offsets[30:])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"freeze": 0.5}, r"freeze is 0\.5 and the ramp ends at 0\.8"),
        ({"freeze": 1.1}, r"freeze is 1\.1"),
        ({"below": 1.5}, r"below is 1\.5"),
        ({"below": 0.5, "shrinkage": "soft", "straight_through": False}, "give .* straight_through"),
        ({"shrinkage": "feather", "straight_through": False}, "'feather' needs straight_through"),
    ],
)
def test_bad_settings(bad: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SoftThreshold(0.1, **bad)
