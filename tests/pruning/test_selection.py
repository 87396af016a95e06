"""How much where and in what shape: exact counts under every constraint."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from secateur.problem.components import prunable
from secateur.pruning.distribution import Distribution, counts, erk
from secateur.pruning.pattern import Pattern
from secateur.pruning.selection import select
from secateur.zoo import deeplab_resnet34

SHAPES = {"stem": (16, 3, 3, 3), "body": (32, 16, 3, 3), "fc": (5, 32), "gate": (1, 8, 1, 1)}
COMPONENTS = {"backbone": ("stem", "body"), "head": ("fc", "gate")}
DISTRIBUTIONS: tuple[Distribution, ...] = ("global", "uniform", "erk", "component")


def drawn(seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=draw) for name, shape in SHAPES.items()}


def kept(masks: dict[str, Tensor]) -> int:
    return sum(int(mask.sum()) for mask in masks.values())


@given(density=st.floats(0.01, 1.0), seed=st.integers(0, 99), distribution=st.sampled_from(DISTRIBUTIONS))
@settings(max_examples=60, deadline=None)
def test_the_count_is_exact_and_no_layer_dies(density: float, seed: int, distribution: Distribution) -> None:
    scores = drawn(seed)
    masks = select(scores, density, distribution=distribution, components=COMPONENTS)
    assert kept(masks) == round(density * sum(s.numel() for s in scores.values()))
    assert all(mask.any() for mask in masks.values())
    assert {n: m.shape for n, m in masks.items()} == {n: s.shape for n, s in scores.items()}


@given(low=st.floats(0.01, 0.99), high=st.floats(0.01, 0.99), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_masks_nest_with_density(low: float, high: float, seed: int) -> None:
    low, high = sorted((low, high))
    few, many = select(drawn(seed), low), select(drawn(seed), high)
    assert all(not (few[name] & ~many[name]).any() for name in few)


@given(density=st.floats(0.02, 0.5), seed=st.integers(0, 99), distribution=st.sampled_from(DISTRIBUTIONS))
@settings(max_examples=40, deadline=None)
def test_two_of_four(density: float, seed: int, distribution: Distribution) -> None:
    scores = drawn(seed)
    two_of_four = Pattern.parse("2:4")
    masks = select(scores, density, distribution=distribution, components=COMPONENTS, pattern=two_of_four)
    assert kept(masks) == round(density * sum(s.numel() for s in scores.values()))
    for mask in masks.values():
        groups = F.pad(mask.movedim(1, -1).float(), (0, -mask.shape[1] % 4)).unflatten(-1, (-1, 4))
        assert float(groups.sum(-1).max()) <= 2


def test_two_of_four_keeps_the_best_two() -> None:
    score = torch.tensor([[0.1, 0.9, 0.5, 0.2, 0.3, 0.1, 0.2, 0.4]])
    mask = select({"w": score}, 0.5, pattern=Pattern.parse("2:4"))["w"]
    assert mask.int().tolist() == [[0, 1, 1, 0, 1, 0, 0, 1]]


@pytest.mark.parametrize("text", ["1x4", "4x1", "2x2"])
@pytest.mark.parametrize("density", [0.5, 0.2, 0.05])
def test_blocks_are_whole(text: str, density: float) -> None:
    scores, pattern = drawn(), Pattern.parse(text)
    masks = select(scores, density, pattern=pattern)
    size = sum(s.numel() for s in scores.values())
    assert abs(kept(masks) - density * size) <= pattern.rows * pattern.columns / 2 + 0.5
    for mask in masks.values():
        share = pattern.pooled(mask.float())
        assert ((share == 0) | (share == 1)).all()


def test_the_best_block_by_its_mean() -> None:
    score = torch.tensor([[9.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0]])
    mask = select({"w": score}, 0.5, pattern=Pattern.parse("1x4"), at_least=0)["w"]
    assert mask.int().tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]


def test_distributions_by_hand() -> None:
    scores = {"a": torch.arange(10.0), "b": torch.arange(10.0) + 100}
    components = {"x": ("a",), "y": ("b",)}
    assert [int(m.sum()) for m in select(scores, 0.5).values()] == [1, 9], "one is kept whatever its score"
    assert [int(m.sum()) for m in select(scores, 0.5, at_least=0).values()] == [0, 10]
    assert [int(m.sum()) for m in select(scores, 0.5, distribution="uniform").values()] == [5, 5]
    assert [
        int(m.sum()) for m in select(scores, 0.5, distribution="component", components=components).values()
    ] == [5, 5]
    assert select(scores, 0.1, at_least=0)["b"].tolist() == [False] * 8 + [True] * 2


def test_erk_of_the_published_network() -> None:
    """methods.md, 2.4: Deeplab-ResNet34, 90 %, power 0.9."""
    with torch.device("meta"):
        model = deeplab_resnet34({"seg": 40, "normal": 3, "depth": 1})
    shapes = {name: tuple(p.shape) for name, p in prunable(model).items()}
    shares = erk(shapes, 0.1, power=0.9)
    sizes = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
    assert sum(shares[n] * sizes[n] for n in shapes) == pytest.approx(0.1 * sum(sizes.values()))
    assert max(shares.values()) == 1.0
    found = {}
    for part in ("backbone", "heads.seg", "heads.normal", "heads.depth"):
        names = [
            n for n in shapes if n.startswith(part) or (part == "backbone" and not n.startswith("heads"))
        ]
        found[part] = 100 * (1 - sum(shares[n] * sizes[n] for n in names) / sum(sizes[n] for n in names))
    assert list(found.values()) == pytest.approx([88.7, 90.0, 90.6, 90.6], abs=0.06)


def test_counts_by_hand() -> None:
    free = {"least": {"a": 0, "b": 0, "c": 0}, "most": {"a": 9, "b": 9, "c": 9}}
    assert counts({"a": 1.5, "b": 2.5, "c": 3.0}, 7, **free) in (
        {"a": 2, "b": 2, "c": 3},
        {"a": 1, "b": 3, "c": 3},
    )
    bound = {"least": {"a": 2, "b": 0, "c": 0}, "most": {"a": 9, "b": 1, "c": 9}}
    assert counts({"a": 0.1, "b": 5.0, "c": 1.9}, 7, **bound) == {"a": 2, "b": 1, "c": 4}
    with pytest.raises(ValueError, match="from 2 to 19 are possible"):
        counts({"a": 1.0, "b": 1.0, "c": 1.0}, 20, **bound)


def test_out_of_reach_says_what_is_not() -> None:
    with pytest.raises(ValueError, match=r"density is 0.6; .* can be from .* to 0.5"):
        select({"w": torch.rand(8, 8)}, 0.6, pattern=Pattern.parse("2:4"))
    with pytest.raises(ValueError, match=r"density is 0.01; .* from 0.046875"):
        select({"w": torch.rand(8, 8)}, 0.01, at_least=3)
    with pytest.raises(ValueError, match="no components are given"):
        select({"w": torch.rand(8, 8)}, 0.1, distribution="component")


@pytest.mark.parametrize("text", ["4:2", "2:2", "x4", "0x4", "2-4", "", "0:4"])
def test_unknown_patterns(text: str) -> None:
    with pytest.raises(ValueError, match="give 'unstructured', 'N:M'"):
        Pattern.parse(text)


def test_nan_is_worth_nothing() -> None:
    score = torch.tensor([torch.nan, 1.0, torch.inf, 2.0])
    assert select({"w": score}, 0.5)["w"].tolist() == [False, False, True, True]


def test_the_guard_keeps_to_the_pattern() -> None:
    score = torch.tensor([[0.9, 0.8, 0.7, 0.6], [0.1, 0.1, 0.1, 0.1]])
    mask = select({"w": score}, 0.5, pattern=Pattern.parse("2:4"), at_least=4)["w"]
    assert mask.sum(1).tolist() == [2, 2]


def test_the_guard_of_blocks_takes_the_best_block() -> None:
    """Not the one with the largest weight, which would change what survives where no layer dies."""
    score = torch.tensor([[9.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0]])
    blocks = Pattern.parse("1x4")
    guarded, free = (select({"w": score}, 0.5, pattern=blocks, at_least=n)["w"] for n in (1, 0))
    assert torch.equal(guarded, free)
    other = torch.full((1, 8), 10.0)
    masks = select({"w": score, "x": other}, 0.5, pattern=blocks, at_least=1)
    assert masks["w"].int().tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    assert int(masks["x"].sum()) == 4


@pytest.mark.parametrize("text", ["1x4", "4x1", "2x2"])
def test_blocks_come_within_half_a_block_of_what_was_asked(text: str) -> None:
    """Of the share itself, not of the whole number of weights next to it, at every share."""
    score = torch.rand(32, 32, generator=torch.Generator().manual_seed(0))
    for density in [number / 997 for number in range(10, 997, 7)]:
        kept = int(select({"w": score}, density, pattern=Pattern.parse(text), at_least=0)["w"].sum())
        assert abs(kept - density * score.numel()) <= 2


@pytest.mark.parametrize("distribution", ["uniform", "erk", "component", {"head": 0.3}])
@pytest.mark.parametrize("text", ["2x1", "1x4", "4x4"])
def test_blocks_of_many_groups_come_within_half_a_block_together(
    distribution: Distribution, text: str
) -> None:
    """What each group rounds to whole blocks does not add up."""
    pattern = Pattern.parse(text)
    size = sum(s.numel() for s in drawn().values())
    for density in (0.25, 0.3, 0.35):
        masks = select(
            drawn(), density, distribution=distribution, components=COMPONENTS, pattern=pattern, at_least=0
        )
        assert abs(kept(masks) - density * size) <= pattern.unit / 2 + 0.5, density
