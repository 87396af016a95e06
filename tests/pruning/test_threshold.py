"""The soft threshold: its values, its gradients by finite differences, and the exact search."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from problems import two_heads
from secateur.problem.components import prunable
from secateur.pruning.effective import attach, detach
from secateur.pruning.levels import (
    ExactThreshold,
    _place,
    _place_in_memory,
    _starved,
    bisected,
    starved,
)
from secateur.pruning.masks import top_masks
from secateur.pruning.threshold import Shrinkage, shrink, soft_threshold
from secateur.pruning.thresholded import bake


def test_values_by_hand() -> None:
    w = torch.tensor([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0])
    assert soft_threshold(w, torch.tensor(1.0)).tolist() == [-2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]
    assert torch.equal(soft_threshold(w, torch.tensor(0.0)), w)


def test_accelerator_form_equals_cpu_form() -> None:
    w, alpha = torch.randn(1000), torch.tensor(0.37)
    assert torch.equal(w - w.clamp(-alpha, alpha), shrink(w, alpha))


@pytest.mark.parametrize("straight_through", [False, True])
def test_gradients_by_finite_differences(straight_through: bool) -> None:
    """dL/dw = dL/dS·1[|w| > α] (or dL/dS), dL/dα = -Σ sign(w)·1[|w| > α]·dL/dS, and θ through α = σ(θ)."""
    w = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    theta = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    mix = torch.randn(6, 5, dtype=torch.float64)

    def loss(w: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        s = soft_threshold(w, theta.sigmoid(), straight_through)
        return (s * mix).sum() + s.square().sum()

    value = loss(w, theta)
    value.backward()
    step = 1e-6
    with torch.no_grad():
        slope = (loss(w, theta + step) - loss(w, theta - step)) / (2 * step)
        assert theta.grad is not None
        assert torch.allclose(theta.grad, slope, rtol=1e-6)
        assert w.grad is not None
        kept = w.abs() > theta.sigmoid()
        assert kept.any()
        assert not kept.all()
        for index in range(w.numel()):
            nudge = torch.zeros_like(w).view(-1)
            nudge[index] = step
            slope = (loss(w + nudge.view_as(w), theta) - loss(w - nudge.view_as(w), theta)) / (2 * step)
            got = w.grad.view(-1)[index]
            if kept.view(-1)[index] or not straight_through:
                assert torch.allclose(got, slope, atol=1e-7)
            else:
                assert torch.allclose(got, mix.view(-1)[index])  # the gradient at S, which is zero there


@given(st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=20), st.floats(0, 5, width=32))
@settings(max_examples=50, deadline=None)
def test_one_lipschitz_and_towards_zero(values: list[float], alpha: float) -> None:
    w = torch.tensor(values)
    s = shrink(w, torch.tensor(alpha))
    assert (s.abs() <= w.abs()).all()
    assert ((s[:, None] - s[None]).abs() <= (w[:, None] - w[None]).abs() + 1e-5).all()


@given(st.integers(1, 400), st.integers(0, 10_000), st.floats(0.2, 5.0))
@settings(max_examples=60, deadline=None)
def test_exact_search(keep: int, seed: int, drift: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    weights = [torch.randn(10, 20, generator=draw), torch.randn(200, generator=draw)]
    find = ExactThreshold(400)
    for factor in (1.0, 1.01, drift):  # the second call is near, the third anywhere
        moved = [w * factor for w in weights]
        alpha = find(moved, [1.0, 2.0], keep)
        ratios = torch.cat([moved[0].flatten().abs(), moved[1].abs() / 2])
        assert int((ratios > alpha).sum()) == keep
        near = float(alpha) / 1.05, float(alpha) * 1.05
        parts = ratios.split(150)
        for least in (1, 3):
            assert _starved(parts, alpha, least) == starved(parts, alpha, least)
            assert _starved(parts, ratios.max(), least)
        if keep < 400:  # what accelerators do, where only the tensors differ
            assert torch.equal(bisected(ratios, keep), alpha)
            assert torch.equal(_place(ratios, *near, keep), alpha)
            assert torch.equal(_place_in_memory(ratios, *near, keep), alpha)
            assert _place(ratios, 0.0, near[0], keep) is None
            assert _place(ratios, near[1], torch.inf, keep) is None


def test_ties_go_to_the_earlier_index() -> None:
    masks = top_masks([torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 0.5])], 3)
    assert [m.tolist() for m in masks] == [[True, True, True], [False, False]]
    masks = top_masks([torch.zeros(3), torch.zeros(4)], 5)
    assert [m.tolist() for m in masks] == [[True] * 3, [True, True, False, False]]
    with pytest.raises(ValueError, match="keep is 8"):
        top_masks([torch.zeros(3), torch.zeros(4)], 8)


def test_top_masks_nest_with_density() -> None:
    scores = [torch.randn(30), torch.randn(5, 5)]
    small, large = top_masks(scores, 10), top_masks(scores, 25)
    assert all((big | ~few).all() for few, big in zip(small, large, strict=True))


def test_bake_keeps_the_function_of_the_thresholded_model() -> None:
    """Oracle T11: what is left behind computes what training computed, bit for bit."""
    problem = two_heads()
    model, weights = problem.model, prunable(problem.model)
    total = sum(w.numel() for w in weights.values())
    alpha = ExactThreshold(total)(list(weights.values()), [1.0] * len(weights), total // 5)
    for name in weights:
        attach(model, {name: Shrinkage(alpha, straight_through=True)})
    model.eval()
    x = torch.randn(2, 3, 8, 8)
    before = model(x)
    masks = bake(model, weights, dict.fromkeys(weights, 1.0), total // 5)
    after = model(x)
    assert all(torch.equal(before[task], after[task]) for task in before)
    assert sum(int(m.sum()) for m in masks.masks.values()) == total // 5
    assert sum(int(w.count_nonzero()) for w in weights.values()) == total // 5


def test_bake_with_ties_keeps_every_survivor_nonzero() -> None:
    problem = two_heads()
    weights = prunable(problem.model)
    with torch.no_grad():
        for w in weights.values():
            w.fill_(0.5)
    for name in weights:
        attach(problem.model, {name: Shrinkage(torch.tensor(0.0), straight_through=True)})
    bake(problem.model, weights, dict.fromkeys(weights, 1.0), 100)
    assert sum(int(w.count_nonzero()) for w in weights.values()) == 100


def test_detach_leaves_the_same_parameter_object() -> None:
    problem = two_heads()
    before = dict(problem.model.named_parameters())
    for name in prunable(problem.model):
        attach(problem.model, {name: Shrinkage(torch.tensor(0.1), straight_through=False)})
    for name in before:
        if not name.endswith("bias") and name in ("trunk.0.weight", "colour.weight"):
            detach(problem.model)
    after = dict(problem.model.named_parameters())
    assert after["trunk.0.weight"] is before["trunk.0.weight"]
