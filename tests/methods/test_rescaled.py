"""The rescaled soft threshold (ST-3), and the recipes of the soft thresholds of others."""

from __future__ import annotations

import pytest
import torch

from problems import batches, two_heads
from secateur import LearnedThreshold, SoftThreshold, fit
from secateur.problem.components import components
from secateur.pruning.density import density
from secateur.pruning.effective import attach
from secateur.pruning.threshold import Shrinkage, shrink
from secateur.runs.config import build, parse, resolved


def test_a_channel_is_scaled_up_for_what_it_lost() -> None:
    w = torch.tensor([[0.5, -2.0, 3.0, 0.9], [2.0, 2.0, 2.0, 2.0], [0.1, 0.2, 0.0, 0.1]])
    found = shrink(w, torch.tensor(1.0), "rescaled")
    factor = 1.01 / (5.0 / 6.4 + 0.01)
    assert found[0].tolist() == pytest.approx([0.0, -1.0 * factor, 2.0 * factor, 0.0])
    assert found[1].tolist() == [1.0] * 4, "nothing lost, nothing added"
    assert found[2].tolist() == [0.0] * 4
    assert torch.allclose(shrink(w, torch.tensor(0.0), "rescaled"), w)


def test_the_gradient_goes_straight_through() -> None:
    layer = torch.nn.Linear(4, 1, bias=False)
    attach(layer, {"weight": Shrinkage(torch.tensor(0.2), True, "rescaled")})
    layer(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
    assert next(layer.parameters()).grad.tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_what_is_baked_is_what_was_trained_with() -> None:
    """At the freeze the plain weights predict what the thresholded ones did, up to the last step of the level."""
    problem, seen = two_heads(width=32), {}
    x = torch.cat([x for x, _ in batches(2)])

    class Watch(SoftThreshold):
        def _freeze(self, optimizer: object) -> None:
            level = self._find(
                list(self.weights.values()), [1.0] * len(self.weights), self._keep(self.density)
            )
            for threshold in self._level.values():
                threshold.copy_(level)
            problem.model.eval()
            before = problem.model(x)
            super()._freeze(optimizer)
            after = problem.model(x)
            problem.model.train()
            seen.update({t: (before[t], after[t]) for t in before})

    fit(problem, Watch(0.2, "all", shrinkage="rescaled", allocation="common"), steps=20)
    for before, after in seen.values():
        assert torch.allclose(before, after, rtol=1e-3, atol=1e-4)


def test_the_recipes_are_what_they_are_called() -> None:
    st3 = build("method", resolved(parse(["st3", "--method.density", "0.2"])))
    assert isinstance(st3, SoftThreshold)
    assert (st3.by, st3.shrinkage, st3.allocation, st3.straight_through) == (
        "all",
        "rescaled",
        "common",
        True,
    )
    strs = build("method", resolved(parse(["str", "--method.density", "0.2"])))
    assert isinstance(strs, LearnedThreshold)
    assert strs.by == "layer"
    for method in (st3, strs):
        problem = two_heads()
        fit(problem, method, steps=60)
        assert density(problem.model, components(problem)).overall == pytest.approx(0.2, abs=0.0005)


def test_rescaling_needs_the_straight_gradient() -> None:
    with pytest.raises(ValueError, match="shrinkage 'rescaled' needs straight_through"):
        SoftThreshold(0.1, shrinkage="rescaled", straight_through=False)
