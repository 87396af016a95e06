"""An exact number of survivors with a few in every layer: the search, and the thresholds that use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from problems import equal, two_heads, weights
from secateur.methods import LearnedThreshold, SoftThreshold
from secateur.problem.components import prunable
from secateur.problem.problem import Problem
from secateur.pruning.levels import ExactThreshold, guarded
from secateur.pruning.masks import top_masks
from secateur.pruning.sparsifier import Sparsifier
from secateur.training.fit import fit

pytestmark = pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds")
MAKE: dict[str, Callable[..., Sparsifier]] = {
    "layer": lambda d, n: SoftThreshold(d, at_least=n),
    "one": lambda d, n: SoftThreshold(d, "all", at_least=n),
    "soft": lambda d, n: SoftThreshold(d, "all", shrinkage="soft", straight_through=False, at_least=n),
    "rescaled": lambda d, n: SoftThreshold(d, "all", shrinkage="rescaled", allocation="common", at_least=n),
    "learned": lambda d, n: LearnedThreshold(d, at_least=n),
    "learned_layer": lambda d, n: LearnedThreshold(d, "layer", -6.0, "controller", at_least=n),
}


def counts(problem: Problem) -> dict[str, int]:
    return {name: int(p.count_nonzero()) for name, p in prunable(problem.model).items()}


def narrow() -> Problem:
    """A layer whose weights are a thousand times smaller than those of the others."""
    problem = two_heads(width=40)
    with torch.no_grad():
        problem.model.trunk[4].weight.mul_(1e-3)
    return problem


@given(st.integers(11, 400), st.integers(0, 10_000), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_exactly_so_many_and_a_few_of_each(keep: int, seed: int, at_least: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    tensors = [
        torch.randn(10, 20, generator=draw),
        1e-3 * torch.randn(197, generator=draw),
        torch.randn(3, generator=draw),
    ]
    find, scales = ExactThreshold(400), [1.0, 2.0, 0.5]
    plain = find(tensors, scales, keep)
    ratios = [w.abs() / s for w, s in zip(tensors, scales, strict=True)]
    alpha, own = find.levels(tensors, scales, keep, at_least)
    kept = [int((r > level).sum()) for r, level in zip(ratios, own, strict=True)]
    assert sum(kept) == keep
    assert all(k >= min(at_least, r.numel()) for k, r in zip(kept, ratios, strict=True))
    if all(int((r > plain).sum()) >= min(at_least, r.numel()) for r in ratios):
        assert torch.equal(alpha, plain)
        assert all(torch.equal(level, plain) for level in own)
    masks = top_masks(guarded(ratios, at_least), keep)
    for mask, ratio, level in zip(masks, ratios, own, strict=True):
        assert torch.equal(mask, ratio > level)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
@pytest.mark.parametrize("level", [pytest.param(0.02, marks=pytest.mark.slow), 0.005])
def test_no_layer_dies_and_the_density_is_exact(make: Callable[..., Sparsifier], level: float) -> None:
    problem, free = narrow(), narrow()
    fit(problem, make(level, 1), steps=30)
    fit(free, make(level, 0), steps=30)
    size = sum(p.numel() for p in prunable(problem.model).values())
    assert min(counts(problem).values()) >= 1
    assert min(counts(free).values()) == 0, "it would have died"
    assert sum(counts(problem).values()) == sum(counts(free).values()) == round(level * size)


def test_no_layer_dies_on_the_way() -> None:
    problem, seen = narrow(), []

    class Watch(SoftThreshold):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            seen.append(int(problem.model.trunk[4].weight.count_nonzero()))

    fit(problem, Watch(0.02, "all"), steps=30)
    assert min(seen) == 1


@pytest.mark.parametrize(
    "name", [name for name in MAKE if name != "learned_layer"]
)  # of which layers die at any density
def test_nothing_changes_where_no_layer_would_die(name: str) -> None:
    guarded_, free, make = two_heads(), two_heads(), MAKE[name]
    fit(free, make(0.5, 0), steps=30)
    fit(guarded_, make(0.5, 1), steps=30)
    assert min(counts(free).values()) >= 1
    assert equal(weights(guarded_), weights(free))


def test_a_layer_with_its_own_threshold_resumes_bit_for_bit(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def halt(rows: list) -> None:
        if rows and rows[-1]["step"] == 17:
            raise StopError

    straight, stopped = narrow(), narrow()
    fit(straight, SoftThreshold(0.02, "all"), steps=30)
    options = {"steps": 30, "checkpoint": tmp_path / "c.pt", "checkpoint_every": 4}
    with pytest.raises(StopError):
        fit(stopped, SoftThreshold(0.02, "all"), on_log=halt, **options)
    stopped = narrow()
    fit(stopped, SoftThreshold(0.02, "all"), **options)
    assert equal(weights(straight), weights(stopped))


@pytest.mark.parametrize("make", [SoftThreshold, LearnedThreshold])
def test_too_few_for_every_layer(make: type) -> None:
    with pytest.raises(
        ValueError, match=r"density is 0.001; with at least 20 weights a layer it can be from"
    ):
        fit(two_heads(), make(0.001, at_least=20), steps=2)
    with pytest.raises(ValueError, match="at_least is -1"):
        fit(two_heads(), make(0.1, at_least=-1), steps=2)
