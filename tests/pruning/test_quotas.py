"""A density of its own for a component: met exactly, checked, and clear about what the whole then has."""

from __future__ import annotations

import pytest
import torch

from problems import two_heads
from secateur.methods import GradualMagnitude, OneShot
from secateur.problem.components import components, prunable
from secateur.problem.problem import Problem
from secateur.pruning.density import DensityError, density
from secateur.pruning.distribution import quotas
from secateur.pruning.schedules import cubic_density
from secateur.pruning.selection import select
from secateur.runs.config import build, parse, resolved
from secateur.training.fit import fit

SIZES = {"backbone": 1000, "seg": 200, "depth": 100}


def sizes(problem: Problem) -> dict[str, int]:
    weights = prunable(problem.model)
    return {c: sum(weights[n].numel() for n in names) for c, names in components(problem).items()}


def kept(problem: Problem) -> dict[str, int]:
    weights = prunable(problem.model)
    return {
        c: sum(int(weights[n].count_nonzero()) for n in names) for c, names in components(problem).items()
    }


def test_by_hand() -> None:
    assert quotas({"seg": 0.5}, SIZES, 0.1) == {"seg": 100, "": 30}
    assert quotas({"backbone": 0.1, "seg": 0.1, "depth": 0.1}, SIZES, 0.1) == {
        "backbone": 100,
        "seg": 20,
        "depth": 10,
    }


@pytest.mark.parametrize(
    ("shares", "whole", "said"),
    [
        ({"smell": 0.1}, 0.1, r"names \['smell'\]; the components are \['backbone', 'depth', 'seg'\]"),
        ({}, 0.1, "names no component"),
        ({"seg": 0.0}, 0.1, r"'seg' the density 0.0; .* in \(0, 1\]"),
        ({"seg": 1.5}, 0.1, "'seg' the density 1.5"),
        ({"backbone": 0.5}, 0.1, "comes to 0.384615 and leaves -370 of 300 weights to the other"),
        ({"seg": 0.1}, 0.95, "from 0.015385 to 0.861538 are possible"),
        (
            dict.fromkeys(SIZES, 0.2),
            0.1,
            "names all components and comes to 0.200000; ask for that density, or leave out",
        ),
    ],
)
def test_what_does_not_fit_together(shares: dict[str, float], whole: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        quotas(shares, SIZES, whole)


@pytest.mark.parametrize("make", [OneShot, GradualMagnitude])
@pytest.mark.parametrize("level", [0.4, 0.1])
def test_a_component_gets_its_own_and_the_whole_what_was_asked(make: type, level: float) -> None:
    problem = two_heads(width=40)
    fit(problem, make(level, distribution={"colour": 0.3, "shade": 0.05}), steps=20)
    whole, left = sizes(problem), kept(problem)
    assert left["colour"] == round(0.3 * whole["colour"])
    assert left["shade"] == round(0.05 * whole["shade"])
    assert sum(left.values()) == round(level * sum(whole.values()))


@pytest.mark.parametrize("make", [OneShot, GradualMagnitude])
def test_all_named(make: type) -> None:
    problem, shares = two_heads(width=40), {"backbone": 0.1, "colour": 0.5, "shade": 0.2}
    whole = sizes(problem)
    asked = sum(shares[c] * whole[c] for c in whole) / sum(whole.values())
    fit(problem, make(asked, distribution=shares), steps=20)
    assert kept(problem) == {c: round(shares[c] * whole[c]) for c in whole}
    assert density(problem.model, components(problem)).overall == pytest.approx(asked, abs=0.0005)
    with pytest.raises(ValueError, match="names all components and comes to"):
        fit(two_heads(width=40), make(0.3, distribution=shares), steps=20)


def test_each_component_has_a_ramp_of_its_own() -> None:
    problem, seen = two_heads(width=40), []

    class Watch(GradualMagnitude):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            seen.append(kept(problem))

    fit(problem, Watch(0.1, (0.0, 0.8), 1, distribution={"colour": 0.5}), steps=20)
    whole = sizes(problem)
    for step, found in enumerate(seen, 1):
        assert found["colour"] == round(cubic_density(step / 20, 0.5, 0.0, 0.8) * whole["colour"])


def test_a_quota_under_a_pattern_is_refused_before_training() -> None:
    with pytest.raises(
        DensityError, match=r"distribution leaves \d+ weights to colour; .* it can have from 1 to"
    ):
        fit(two_heads(), GradualMagnitude(0.3, distribution={"colour": 0.9}, pattern="2:4"), steps=5)


def test_a_dense_component_waits_for_its_pattern() -> None:
    """On the way the backbone may be sparser than half before the head is; in the end both are."""
    problem = two_heads(width=40)
    fit(problem, GradualMagnitude(0.1, distribution={"colour": 0.5}, pattern="2:4"), steps=40)
    assert kept(problem)["colour"] == round(0.5 * sizes(problem)["colour"])
    assert sum(kept(problem).values()) == round(0.1 * sum(sizes(problem).values()))


def test_on_the_command_line() -> None:
    argv = ["magnitude", "--method.distribution", "{seg: 0.2, depth: 0.05}"]
    assert build("method", resolved(parse(argv))).distribution == {"seg": 0.2, "depth": 0.05}


def test_select_needs_the_components() -> None:
    with pytest.raises(ValueError, match="no components are given"):
        select({"w": torch.rand(8, 8)}, 0.1, distribution={"w": 0.1})


@pytest.mark.parametrize("share", [True, 0.0, -1.0])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"distribution (gives 'colour' the density|is .*True)"):
        fit(two_heads(), GradualMagnitude(0.3, distribution={"colour": share}), steps=5)
