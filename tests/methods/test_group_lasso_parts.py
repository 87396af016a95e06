"""GroupLasso where the optimizer moves its weights differently: not at all, at rates of their own, or without having them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lasso_groups import SHARED, shared
from problems import TwoHeads, batches, tasks, two_heads
from secateur.methods import GroupLasso
from secateur.problem.problem import Problem
from secateur.pruning.groups import input_groups
from secateur.pruning.prox import adam_metric, at_rates, group_prox, l1_prox
from secateur.training.fit import fit
from secateur.training.optimizer import adam


def flat(progress: float) -> float:
    return 1.0


def with_a_layer_that_no_task_reaches() -> Problem:
    torch.manual_seed(0)
    model = TwoHeads()
    model.classifier = nn.Conv2d(16, 10, 1)
    data = batches()
    return Problem(model, tasks(), data, data[:2], data[:2])


def zeros(problem: Problem) -> float:
    return float((problem.model.get_parameter("trunk.4.weight") == 0).float().mean())


def test_a_layer_that_no_task_reaches_does_not_stop_the_penalty() -> None:
    problem = with_a_layer_that_no_task_reaches()
    before = problem.model.get_parameter("classifier.weight").clone()
    fit(problem, GroupLasso(norm="l1", strength=1e-2), steps=60, optimizer=adam(1e-2))
    assert zeros(problem) > 0.1
    assert torch.equal(problem.model.get_parameter("classifier.weight"), before)


def test_nor_the_cuts_in_training() -> None:
    problem, shares = with_a_layer_that_no_task_reaches(), list[float]()

    class Watch(GroupLasso):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            shares.append(float(torch.cat([m.flatten() for m in self.masks.masks.values()]).float().mean()))

    fit(problem, Watch(norm="l1", density=0.2), steps=60, optimizer=adam(1e-2))
    assert shares[0] == 1.0
    assert 0.2 < shares[30] < 0.8
    assert shares[-1] == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize(("groups", "other"), [("input", "trunk.0.weight"), ("coupled", "shade.2.weight")])
@pytest.mark.parametrize("metric", ["adaptive", "euclidean"])
def test_frozen_weights_are_not_penalised(metric: Any, groups: Any, other: str) -> None:
    problem = two_heads()
    frozen = problem.model.get_parameter("trunk.4.weight").requires_grad_(False)
    before = frozen.clone()
    fit(problem, GroupLasso(strength=1.0, metric=metric, groups=groups), steps=30, optimizer=adam(1e-2))
    assert torch.equal(frozen, before)
    assert (problem.model.get_parameter(other).abs().amax((0, 2, 3)) == 0).any()


def test_an_optimizer_without_the_frozen_ones_will_do() -> None:
    problem = two_heads()
    problem.model.get_parameter("trunk.0.weight").requires_grad_(False)

    def trained(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.Adam([p for g in groups for p in g["params"] if p.requires_grad], 1e-2)

    fit(problem, GroupLasso(strength=1.0), steps=30, optimizer=trained)
    assert (problem.model.get_parameter("trunk.4.weight").abs().amax((0, 2, 3)) == 0).any()


@pytest.mark.parametrize("metric", ["adaptive", "euclidean"])
def test_every_weight_is_penalised_at_its_own_rate(metric: Any) -> None:
    problem, strength, rates = two_heads(), 3e-3, dict(zip(SHARED, (1e-2, 1e-3), strict=True))
    seen: dict[str, Tensor] = {}
    adaptive = metric == "adaptive"

    class Watch(GroupLasso):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            seen.update({n: p.detach().clone() for n, p in self._weights.items()})
            seen.update({f"D {n}": d for n, d in (adam_metric(self._weights, optimizer, 1e-6) or {}).items()})
            super().after_step(step, optimizer)

    def split(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        others = [p for g in groups for p in g["params"] if p is not second]
        return torch.optim.Adam([{"params": others, "lr": 1e-2}, {"params": [second], "lr": 1e-3}])

    second = problem.model.get_parameter(SHARED[1])
    fit(problem, Watch(strength=strength, metric=metric), steps=1, optimizer=split, schedule=flat)
    for name in SHARED:  # groups of input channels are within one weight, so that each can be had by itself
        own = input_groups(problem, [name])
        kappa = torch.full((own.count,), rates[name] * strength * (16 * 9) ** 0.5)
        wanted = group_prox({name: seen[name]}, {name: seen[f"D {name}"]} if adaptive else None, kappa, own)
        torch.testing.assert_close(shared(problem)[name], wanted[name], rtol=1e-4, atol=1e-7)
        assert not torch.equal(wanted[name], seen[name])


def test_a_metric_at_the_highest_rate_stands_for_rates() -> None:
    u = {"a": torch.tensor([1.0, -2.0]), "b": torch.tensor([0.5, 3.0])}
    d = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([0.5, 4.0])}
    for metric in (d, None):
        found, rate = at_rates(metric, {"a": 0.1, "b": 0.4}, u)
        assert rate == 0.4
        for name, own in (("a", 0.1), ("b", 0.4)):
            plain = 1.0 if metric is None else metric[name]
            torch.testing.assert_close(l1_prox(u[name], found[name], rate), l1_prox(u[name], plain, own))
        assert at_rates(metric, {"a": 0.1, "b": 0.1}, u) == (metric, 0.1)
        assert at_rates(metric, {"a": 0.0, "b": 0.0}, u) == (metric, 0.0)
    frozen, _ = at_rates(d, {"a": 0.0, "b": 0.1}, u)
    assert torch.equal(frozen["a"], d["a"])
