"""Layers that are frozen for a while in the midst of training, as loops that train parts in turn do, end no method."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from contract import METHODS, Make, with_others_slow
from problems import two_heads
from secateur import DiSparse, DiSparseDynamic, GradualMagnitude, OneShot, Pruning, RigL
from secateur.problem import Problem, components
from secateur.pruning import Sparsifier, density

STEPS = 16
QUICK = {
    "gradual_magnitude_own",
    "one_shot_taylor",
    "disparse_dynamic",
    "set_slow",
    "rigl_slow",
    "reweighted_l1",
    "adapmtl",
    "learned_controller",
    "l1",
}


def trained(
    method: Sparsifier,
    frozen: dict[int, str],
    look: Callable[[int, Problem], None] = lambda step, problem: None,
) -> Problem:
    """Trains; from each of these steps on the parts named are frozen, and no others."""
    problem = two_heads()
    model = problem.model
    with Pruning(problem, method, steps=STEPS) as pruning:
        optimizer = torch.optim.Adam(pruning.groups(), lr=1e-3)
        while pruning.done < pruning.total:
            if not pruning.turns.ready:
                optimizer = pruning.attach(torch.optim.Adam(pruning.groups(), lr=1e-3))
            if pruning.done in frozen:
                for part in ("trunk", "colour", "shade"):
                    model.get_submodule(part).requires_grad_(part not in frozen[pruning.done])
            x, targets = problem.train[pruning.done % 6]
            pruning.loss(model(x), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            pruning.step()
            look(pruning.done, problem)
    return problem


@pytest.mark.parametrize("make", with_others_slow(METHODS, QUICK))
@pytest.mark.filterwarnings("ignore:.*(are not zero|common factor|hardly|weights of)")
def test_no_method_minds(make: Make) -> None:
    method = make(0.2)
    problem = trained(method, {3: "colour", 6: "trunk+colour", 8: "trunk", 11: ""})
    found = density(problem.model, components(problem)).overall
    assert found <= 0.2 + 0.001
    assert found > (0.1 if isinstance(method, RigL | DiSparseDynamic) else 0.199)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GradualMagnitude(0.2, distribution="component"),
        lambda: OneShot(0.2, "magnitude", distribution="component", at=0.5),
        lambda: OneShot(0.2, "snip", distribution={"colour": 0.5}, at=0.5),
        lambda: DiSparse(0.2, at=0.5),
        lambda: DiSparse(0.2, "taylor", at=0.5),
    ],
    ids=["gradual_component", "magnitude_component", "snip_own", "disparse", "disparse_taylor"],
)
def test_a_layer_that_is_frozen_when_weights_go_is_judged_as_others_are(
    make: Callable[[], Sparsifier],
) -> None:
    frozen, plain = trained(make(), {7: "colour"}), trained(make(), {})
    for problem in (frozen, plain):
        problem.model.requires_grad_(True)
    found, other = (density(p.model, components(p)) for p in (frozen, plain))
    assert found.overall == pytest.approx(0.2, abs=5e-4)
    assert found.components["colour"] == pytest.approx(other.components["colour"], abs=0.1)


@pytest.mark.parametrize(
    "make",
    [lambda: RigL(0.2, every=1), lambda: RigL(0.2, "random", every=1), lambda: DiSparseDynamic(0.2, every=1)],
    ids=["rigl", "set", "disparse_dynamic"],
)
@pytest.mark.filterwarnings("ignore:.*are not zero")
def test_what_grows_elsewhere_leaves_a_frozen_layer_its_masks(
    make: Callable[[], RigL | DiSparseDynamic],
) -> None:
    method, seen = make(), dict[int, torch.Tensor]()

    def look(step: int, problem: Problem) -> None:
        seen[step] = method.masks.masks["trunk.4.weight"].clone()

    trained(method, {4: "trunk", 8: ""}, look)
    assert not torch.equal(seen[2], seen[4])
    assert all(torch.equal(seen[4], seen[step]) for step in range(5, 9))
