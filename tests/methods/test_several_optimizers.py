"""What a method asks of the optimizer is asked of each of several that train what it prunes, or its thresholds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, Adamax, NAdam, Optimizer, RAdam

from problems import equal, two_heads, weights
from secateur import GroupLasso, LearnedThreshold, Pruning
from secateur.pruning import prox


def parts(first: Iterable[nn.Parameter], pruning: Pruning, rest: Any, **settings: Any) -> list[Optimizer]:
    """Adam for ``first``, ``rest`` for all others of the groups, with the groups' own settings."""
    chosen = {id(p) for p in first}
    split = [
        [
            {**group, "params": [p for p in group["params"] if (id(p) in chosen) == own]}
            for group in pruning.groups()
        ]
        for own in (True, False)
    ]
    held = [[group for group in groups if group["params"]] for groups in split]
    return [Adam(held[0], lr=1e-2), rest(held[1], lr=1e-2, **settings)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"strength": 1e-3},
            r"needs the moments of Adam, and SGD, which trains trunk\.4\.weight and 3 more, has none",
        ),
        ({"density": 0.5}, "needs the moments of Adam, and SGD"),
        ({"strength": 0.0, "adam_eps": 1e-6}, "adam_eps is 1e-06, and SGD, which trains .* has no eps"),
        ({"strength": 0.0, "decay": 0.1}, "is decoupled, which SGD, which trains .* does not know"),
    ],
)
def test_the_lasso_refuses_an_optimizer_that_would_not_do_its_part(
    settings: dict[str, Any], said: str
) -> None:
    problem = two_heads()
    with Pruning(problem, GroupLasso(norm="l1", **settings), steps=4) as pruning:
        first = [problem.model.trunk[0].weight]
        with pytest.raises(ValueError, match=said):
            pruning.attach(parts(first, pruning, SGD))
        pruning.attach(parts(first, pruning, Adam))
        pruning.leave(early=True)


class Countless(Adam):
    """Counts steps in its groups, as some do."""

    def step(self, closure: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        found = super().step(closure)
        for state in self.state.values():
            self.param_groups[0]["count"] = state.pop("step")
        return found


class Within(Optimizer):
    """Steps another one."""

    def __init__(self, held: Optimizer) -> None:
        self.held = held
        super().__init__(held.param_groups, held.defaults)

    def step(self, closure: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.held.step(closure)


def test_the_lasso_asks_an_optimizer_for_its_moments() -> None:
    problem = two_heads()
    x, targets = problem.train[0]
    first = [problem.model.trunk[0].weight]
    with Pruning(problem, GroupLasso(norm="l1", density=0.5, bias_correct_prox=True), steps=4) as pruning:
        pruning.attach(Adam(pruning.groups()))
        pruning.loss(problem.model(x), targets).backward()  # gradients that no look may step with
        drawn, before = torch.get_rng_state(), weights(problem)
        with pytest.raises(
            ValueError, match="needs the moments of Adam, and Adamax has none; choose metric="
        ):
            pruning.attach(Adamax(pruning.groups()))
        said = r"and Adamax, which trains trunk\.4\.weight and 3 more, has none"
        with pytest.raises(ValueError, match=said):
            pruning.attach(parts(first, pruning, Adamax))
        with pytest.raises(ValueError, match="and Countless has none"):
            pruning.attach(Countless(pruning.groups()))
        for kind in (NAdam, RAdam, lambda groups: Within(Adam(groups))):
            pruning.attach(kind(pruning.groups()))
        assert equal(before, weights(problem))
        assert torch.equal(drawn, torch.get_rng_state())
        pruning.leave(early=True)
    problem = two_heads()
    weight = problem.model.trunk[0].weight
    with Pruning(problem, GroupLasso(norm="l1", strength=1e-3), steps=2) as pruning:
        pruning.attach(Countless(pruning.groups()))  # without the correction it needs no count
        optimizer = pruning.attach(parts([weight], pruning, Adam))
        pruning.leave(early=True)
    optimizer.state[weight] = {"exp_inf": 1.0}
    with pytest.raises(ValueError, match="exp_avg_sq, which Adam lacks"):
        prox.adam_metric({"trunk.0.weight": weight}, optimizer, 1e-6)


def test_a_weight_that_is_frozen_needs_no_moments() -> None:
    problem = two_heads()
    with Pruning(problem, GroupLasso(norm="l1", strength=1e-3), steps=4) as pruning:
        layers = [problem.model.trunk[0], problem.model.trunk[4], problem.model.colour, *problem.model.shade]
        first = [p for layer in layers for n, p in layer.named_parameters() if n == "weight"]
        pruning.attach(parts(first, pruning, SGD))
        pruning.leave(early=True)


def test_each_threshold_decays_at_the_rate_of_its_own_optimizer() -> None:
    problem, method = (
        two_heads(),
        LearnedThreshold(0.2, pressure="decoupled_decay", strength=1.0, initial=-6.0),
    )
    with Pruning(problem, method, steps=10) as pruning:
        theta = method.param_groups()[0]["params"]
        optimizer = pruning.attach(parts([*problem.model.parameters(), theta[0]], pruning, SGD))
        for group in optimizer.param_groups:
            group["lr"] = 0.1 if group["params"][0] is theta[1] else 0.0
        x, targets = problem.train[0]
        before = [float(t.detach()) for t in theta]
        pruning.loss(problem.model(x), targets).backward()
        for t in theta:
            t.grad = torch.zeros_like(t)
        optimizer.step()
        pruning.step()
        after = [float(t.detach()) for t in theta]
        pruning.leave(early=True)
    assert after[0] == before[0]
    assert after[1] == pytest.approx(0.9 * before[1])


def test_a_threshold_without_weight_decay_is_said() -> None:
    problem, method = two_heads(), LearnedThreshold(0.2, pressure="coupled_l2")
    with Pruning(problem, method, steps=10) as pruning:
        theta = method.param_groups()[0]["params"]
        first = [*problem.model.parameters(), theta[0]]
        given = parts(first, pruning, SGD)
        for group in given[0].param_groups:
            group["weight_decay"] = 1e-4
        with pytest.warns(UserWarning, match="the thresholds have no pressure"):
            pruning.attach(given)
        pruning.leave(early=True)
