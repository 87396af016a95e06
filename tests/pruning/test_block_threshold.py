"""Thresholds on blocks: against a double loop, against autograd of the formula, and the levels that blocks exceed."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from problems import two_heads
from secateur.problem.components import prunable
from secateur.pruning.allocation import marginal_cost
from secateur.pruning.block_levels import BlockThreshold
from secateur.pruning.density import DensityError
from secateur.pruning.effective import attach
from secateur.pruning.levels import bisected, check_guard
from secateur.pruning.pattern import Pattern
from secateur.pruning.threshold import Shrinkage, shrink, soft_threshold
from secateur.pruning.thresholded import bake

SHAPES = [(8, 4, 3, 3), (7, 5, 3, 3), (6, 5), (1, 3, 1, 1), (5, 1, 3, 3)]
PATTERNS = ["4x1", "2x1", "1x4", "3x2"]


def blocks(shape: torch.Size | tuple[int, ...], pattern: Pattern) -> list[list[tuple[int, ...]]]:
    """The places of each block, by plain loops."""
    found = []
    for place in torch.cartesian_prod(*[torch.arange(n) for n in (*shape[2:], 1, 1)]).tolist():
        for top in range(0, shape[0], pattern.rows):
            for left in range(0, shape[1], pattern.columns):
                rows = range(top, min(top + pattern.rows, shape[0]))
                columns = range(left, min(left + pattern.columns, shape[1]))
                found.append([(i, j, *place[: len(shape) - 2]) for i in rows for j in columns])
    return found


def oracle(weight: Tensor, alpha: float, form: str, pattern: Pattern) -> Tensor:
    """Each block times its factor, a number at a time."""
    made = torch.zeros_like(weight)
    for places in blocks(weight.shape, pattern):
        rms = math.sqrt(sum(float(weight[p]) ** 2 for p in places) / len(places))
        if rms > alpha:
            for p in places:
                power, root = {"garrote": (2, 1), "feather": (3, 3)}.get(form, (1, 1))
                made[p] = weight[p] * (1 - (alpha / rms) ** power) ** (1 / root)
    if form == "rescaled":
        for i in range(len(weight)):
            size, left = weight[i].abs().sum(), weight[i][made[i] != 0].abs().sum()
            made[i] *= 1.01 / (left / size + 0.01)
    return made


@pytest.mark.parametrize("text", PATTERNS)
@pytest.mark.parametrize("form", ["soft", "garrote", "rescaled", "feather"])
def test_the_value_is_that_of_a_double_loop(form: str, text: str) -> None:
    pattern = Pattern.parse(text)
    for shape in SHAPES:
        weight = torch.randn(shape, dtype=torch.float64)
        alpha = float(pattern.magnitude(weight).median()) * 0.9999
        expected = oracle(weight, alpha, form, pattern)
        for laid in (weight, weight.transpose(0, 1).contiguous().transpose(0, 1)):
            found = shrink(laid, torch.tensor(alpha, dtype=torch.float64), form, pattern)
            assert torch.allclose(found, expected, rtol=1e-12, atol=1e-15)
            assert torch.equal(found == 0, expected == 0)


@pytest.mark.parametrize("form", ["soft", "garrote", "feather"])
def test_a_block_of_zeros_is_zero_whatever_the_threshold(form: str) -> None:
    weight = torch.zeros(4, 1)
    for alpha in (0.0, 1e-30, 1.0, 1e30):
        assert torch.equal(shrink(weight, torch.tensor(alpha), form, Pattern(4, 1)), weight)


@pytest.mark.parametrize("form", ["soft", "garrote", "rescaled", "feather"])
def test_a_block_of_one_weight_is_todays_formula(form: str) -> None:
    weight, alpha = (
        torch.randn(1, 6, 3, 3),
        torch.tensor(0.6),
    )  # one output: each block of 4x1 is a single weight
    assert torch.allclose(shrink(weight, alpha, form, Pattern(4, 1)), shrink(weight, alpha, form), atol=1e-6)
    assert torch.equal(shrink(weight, alpha, form, Pattern(1, 1)), shrink(weight, alpha, form))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_just_exceeds_the_threshold_stays(dtype: torch.dtype) -> None:
    """Of the next float above α something is left, of α itself nothing; the dtype is the weight's."""
    pattern, weight = Pattern(2, 1), torch.full((2, 1), 0.75, dtype=dtype)
    exact = pattern.magnitude(weight).squeeze()
    below = torch.nextafter(exact, torch.zeros_like(exact))
    for form in ("soft", "garrote", "feather"):
        assert not shrink(weight, exact, form, pattern).any()
        kept = shrink(weight, below, form, pattern)
        assert kept.all()
        assert kept.dtype == dtype


@pytest.mark.parametrize("straight_through", [False, True])
@pytest.mark.parametrize("text", PATTERNS)
def test_gradients_are_those_of_autograd(text: str, straight_through: bool) -> None:
    pattern = Pattern.parse(text)
    for shape in SHAPES:
        weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        middle = float(pattern.magnitude(weight.detach()).median()) * 0.9999
        alpha = torch.tensor(middle, dtype=torch.float64, requires_grad=True)
        mix = torch.randn(shape, dtype=torch.float64)
        plain = torch.zeros_like(weight)
        for places in blocks(shape, pattern):
            index = tuple(torch.tensor(part) for part in zip(*places, strict=True))
            held = weight[index]
            factor = (1 - alpha / held.square().mean().sqrt()).clamp(min=0)
            plain = plain.index_put(index, held * factor)
        expected = torch.autograd.grad((plain * mix).sum(), (weight, alpha))
        found = soft_threshold(weight, alpha, straight_through, pattern)
        got = torch.autograd.grad((found * mix).sum(), (weight, alpha))
        assert torch.allclose(got[0], mix if straight_through else expected[0], rtol=1e-10)
        assert torch.allclose(got[1], expected[1], rtol=1e-10)


def test_weights_that_are_zero_have_finite_gradients() -> None:
    pattern, weight = Pattern(4, 1), torch.zeros(8, 3, requires_grad=True)
    pattern.magnitude(weight).sum().backward()
    assert not weight.grad.any()
    alpha = torch.tensor(0.0, requires_grad=True)
    soft_threshold(weight, alpha, False, pattern).sum().backward()
    assert not weight.grad.any()
    assert alpha.grad == 0


@given(st.integers(40, 400), st.integers(0, 10_000), st.floats(0.2, 5.0), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_the_levels_leave_what_was_asked_to_less_than_a_block(
    keep: int, seed: int, drift: float, at_least: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    pattern, scales = Pattern(4, 2), [1.0, torch.tensor(2.0)]
    weights = [torch.randn(10, 17, generator=draw), 0.01 * torch.randn(23, 2, 5, 1, generator=draw)]
    find = BlockThreshold(pattern)
    for factor in (1.0, 1.01, drift):  # the second call is near, the third anywhere
        moved = [w * factor for w in weights]
        alpha, own = find.levels(moved, scales, keep, at_least)
        left = [
            shrink(w, o * s, "soft", pattern).count_nonzero()
            for w, o, s in zip(moved, own, scales, strict=True)
        ]
        assert keep - pattern.unit < sum(map(int, left)) <= keep
        assert min(left) >= at_least
        ratios = [(pattern.magnitude(w) / s).flatten() for w, s in zip(moved, scales, strict=True)]
        sizes = torch.cat([pattern.sizes(w).flatten() for w in moved]).int()
        if not at_least and keep < 400:
            assert torch.equal(bisected(torch.cat(ratios), keep, sizes), alpha)
            assert all(torch.equal(level, alpha) for level in own)


def test_bake_keeps_the_function_of_the_thresholded_model() -> None:
    """What is left behind computes what training computed, bit for bit, in whole blocks, to half a block of the number asked."""
    problem, pattern = two_heads(width=32), Pattern(4, 1)
    model, weights = problem.model, prunable(problem.model)
    total = sum(w.numel() for w in weights.values())
    _, own = BlockThreshold(pattern).levels(list(weights.values()), [1.0] * len(weights), total // 5, 1)
    for name, level in zip(weights, own, strict=True):
        attach(model, {name: Shrinkage(level, True, "garrote", pattern)})
    model.eval()
    x = torch.randn(2, 3, 8, 8)
    before = model(x)
    left = sum(
        int(shrink(w, level, "garrote", pattern).count_nonzero())
        for w, level in zip(weights.values(), own, strict=True)
    )
    masks = bake(model, weights, dict.fromkeys(weights, 1.0), left, "garrote", 1, None, pattern)
    after = model(x)
    assert all(torch.equal(before[task], after[task]) for task in before)
    assert sum(int(m.sum()) for m in masks.masks.values()) == left
    for name, weight in weights.items():
        assert torch.equal(weight != 0, masks.masks[name])
        for places in blocks(weight.shape, pattern):
            assert len({bool(weight[p]) for p in places}) == 1


def test_costs_are_those_of_whole_blocks_near_the_threshold() -> None:
    """Of two blocks with rms 1 and 3 the first is at α = 1.1, with both its weights, whatever each of them is."""
    weight = torch.tensor([[0.2, 3.0], [1.4, 3.0]])
    gradient = torch.tensor([[1.0, 7.0], [2.0, 9.0]])
    found = marginal_cost([weight], [gradient], torch.tensor(1.1), 0.2, Pattern(2, 1))
    assert float(found) == pytest.approx(0.5 * math.log((1 + 4) / 2 * 1.1**2))
    assert marginal_cost([weight], [gradient], torch.tensor(1.1), 0.2).isnan()


def test_the_guard_counts_whole_blocks() -> None:
    check_guard(0.1, 17, [100, 3, 40], 4, [4, 3, 4])
    with pytest.raises(
        DensityError, match=r"at least 4 weights a layer and this pattern it can be from 0\.118881"
    ):
        check_guard(0.1, 16, [100, 3, 40], 4, [4, 3, 4])
