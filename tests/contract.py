"""The list of the contract: every packaged recipe that prunes, and settings that no recipe has.

A recipe that is packaged is in the list by itself; a class of secateur.methods that is not fails test_contract. A method of
your own joins by a line in ``VARIATIONS``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from torch import nn

from problems import two_heads
from secateur.methods import (
    DiSparse,
    DiSparseDynamic,
    GradualMagnitude,
    GroupLasso,
    IterativeMagnitude,
    LearnedThreshold,
    LotteryTicket,
    OneShot,
    ReweightedL1,
    RigL,
    SoftThreshold,
)
from secateur.problem.components import components
from secateur.problem.problem import Problem
from secateur.pruning.density import density
from secateur.pruning.sparsifier import Sparsifier
from secateur.runs.config import build, parse, recipes, resolved
from secateur.training import Row, fit
from secateur.weighting import AdaptiveWeighting

Make = Callable[[float], Sparsifier]
STEPS = 28

# Whole groups go: the density asked is met to within one group only; or it is that of the grouped weights alone. Both
# have tests of their own (test_group_lasso_density). What is published with a strength by hand has no density to ask for.
OF_GROUPS = {"less_is_more", "less_is_more_l1"}
BY_HAND = {"less_is_more_paper"}


@cache
def method_of(recipe: str) -> dict[str, Any]:
    """The method that a recipe names and its settings."""
    return resolved(parse([recipe]))["method"]


def made(settings: dict[str, Any]) -> Make:
    return lambda d: build("method", {"method": {**settings, "density": d}})


def packaged() -> dict[str, dict[str, Any]]:
    """Recipe to the settings of its method, the first of those that differ in the weighting alone."""
    found: dict[str, dict[str, Any]] = {}
    for recipe in recipes():
        settings = method_of(recipe)
        if settings["name"] != "Dense" and settings not in found.values():
            found[recipe] = settings
    return found


PACKAGED = packaged()
VARIATIONS: dict[str, Make] = {
    "soft_threshold_two": lambda d: SoftThreshold(d, components="sharing"),
    "soft_threshold_published_gradient": lambda d: SoftThreshold(d, shrinkage="soft", straight_through=False),
    "soft_threshold_soft": lambda d: SoftThreshold(d, shrinkage="soft", allocation="common"),
    "soft_threshold_scale": lambda d: SoftThreshold(d, allocation="scale"),
    "soft_threshold_4x1": lambda d: SoftThreshold(d, pattern="4x1"),
    "feather_frozen": lambda d: SoftThreshold(
        d, "all", (0.0, 0.5), "feather", "common", freeze=0.7, below=0.5
    ),
    "soft_threshold_cyclic_published": lambda d: SoftThreshold(
        d, shrinkage="soft", straight_through=False, cycles=2, rebound=1.0
    ),
    "gradual_magnitude_erk": lambda d: GradualMagnitude(d, distribution="erk", at_least=1),
    "gradual_magnitude_own": lambda d: GradualMagnitude(d, distribution={"shade": 0.15}),
    "one_shot_snip": lambda d: OneShot(d, "snip", batches=2),
    "one_shot_taylor": lambda d: OneShot(d, "taylor", at=0.5),
    "one_shot_magnitude": lambda d: OneShot(d, "magnitude", at=0.5, distribution="uniform"),
    "one_shot_random": lambda d: OneShot(d, "random", distribution="component", at_least=4),
    "lottery_ticket_rewound": lambda d: LotteryTicket(d, rounds=3, rewind=0.2),
    "iterative_magnitude_2_4": lambda d: IterativeMagnitude(d, rounds=3, pattern="2:4"),
    "disparse_2_4": lambda d: DiSparse(d, pattern="2:4"),
    "disparse_dynamic_slow": lambda d: DiSparseDynamic(d, every=4),
    "set_slow": lambda d: RigL(d, "random", every=4),
    "rigl_slow": lambda d: RigL(d, every=4),
    "reweighted_l1_trained": lambda d: ReweightedL1(d, 1e-3, ramp=(0.0, 0.6), pattern="2:4"),
    "learned_controller": lambda d: LearnedThreshold(d, pressure="controller"),
    "learned_decay": lambda d: LearnedThreshold(d, pressure="decoupled_decay", initial=-6.0),
    "learned_density": lambda d: LearnedThreshold(d, pressure="l1_density", initial=-6.0),
    "learned_4x1": lambda d: LearnedThreshold(d, pressure="controller", pattern="4x1"),
    "l1_euclidean": lambda d: GroupLasso(density=d, norm="l1", metric="euclidean"),
}
METHODS: dict[str, Make] = {
    **{recipe: made(s) for recipe, s in PACKAGED.items() if recipe not in OF_GROUPS | BY_HAND},
    **VARIATIONS,
}
GROUPED: dict[str, Make] = {
    "group_lasso": lambda d: GroupLasso(density=d),
    "group_lasso_euclidean": lambda d: GroupLasso(density=d, metric="euclidean"),
    **{recipe: made(PACKAGED[recipe]) for recipe in sorted(OF_GROUPS)},
}
ALL = {**METHODS, **GROUPED}

every_exact_method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS.keys())
every_method = pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())


def with_others_slow(methods: Mapping[str, Make], quick: Container[str]) -> list[Any]:
    """A parameter for each method; those that are not ``quick`` run with --slow."""
    return [
        pytest.param(make, id=name, marks=[] if name in quick else [pytest.mark.slow])
        for name, make in methods.items()
    ]


# For what settings of a method do not change: the first of each class, and with --slow all.
FIRST = {type(make(0.2)).__name__: name for name, make in reversed(ALL.items())}.values()
every_exact_class = pytest.mark.parametrize("make", with_others_slow(METHODS, FIRST))
every_class = pytest.mark.parametrize("make", with_others_slow(ALL, FIRST))
# For what they might: every recipe, and with --slow the variations too.
every_recipe = pytest.mark.parametrize("make", with_others_slow(ALL, ALL.keys() - VARIATIONS.keys()))


@dataclass(frozen=True)
class Trained:
    """A problem as ``fit`` left it, its parameters as they were before, the method that pruned it, and what was logged."""

    problem: Problem
    parameters: dict[str, nn.Parameter]
    method: Sparsifier
    rows: list[Row]


@cache
def trained(make: Make) -> Trained:
    """For several tests, which look at it and no more."""
    problem, method = two_heads(), make(0.2)
    parameters = dict(problem.model.named_parameters())
    rows = fit(problem, method, AdaptiveWeighting(), steps=STEPS).rows
    return Trained(problem, parameters, method, rows)


def overall(problem: Problem) -> float:
    return density(problem.model, components(problem)).overall


def kept(problem: Problem, method: Sparsifier) -> float:
    """The density, of methods that grow weights that of their masks: what is grown begins at 0, and stays there where no
    gradient reaches; so it is kept, and zero all the same.
    """
    found = overall(problem)
    if not isinstance(method, (RigL, DiSparseDynamic)):
        return found
    masks = method.masks.masks.values()
    asked = sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)
    assert found <= asked
    return asked


def half(method: Sparsifier) -> float:
    """Half a weight, or half a block where blocks survive."""
    pattern = getattr(method, "pattern", None)
    return 0.5 * pattern.unit if pattern else 0.5
