"""Frozen layers are left out, and rounds take no more than they are to, whatever was foreseen of what goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import secateur
from problems import two_heads
from secateur import Budget, Problem, prune
from secateur.budget import BudgetError, record_of, repair, rounds
from secateur.budget.limits import Kind
from secateur.budget.nearest import nearest
from secateur.pruning import Groups
from secateur.shrinking import problem_groups

QUICK: dict[str, Any] = {"batches": 2, "progress": False}


def frozen(start: str) -> Problem:
    problem = two_heads(width=32)
    for name, parameter in problem.model.named_parameters():
        parameter.requires_grad_(not name.startswith(start))
    return problem


def share(small: nn.Module, kind: Kind = "macs") -> float:
    record = record_of(small)
    assert record is not None
    return record.costs[kind] / record.dense[kind]


@pytest.mark.parametrize("steps", [0, 4])
@pytest.mark.parametrize(
    ("start", "asked"), [("trunk", 0.99), ("trunk.4", 0.99), ("trunk.1", 0.8), ("colour", 0.75)]
)
def test_what_is_frozen_stays_and_what_is_asked_is_got(start: str, asked: float, steps: int) -> None:
    problem = frozen(start)
    small = prune(problem, Budget(macs=asked), steps=steps, **QUICK)
    assert 0.95 * asked <= share(small) <= asked
    own = dict(small.named_parameters())
    for name, value in problem.model.named_parameters():
        if not value.requires_grad:
            assert not own[name].requires_grad
            if start != "trunk.1":  # a normalisation goes with its channels
                assert torch.equal(own[name], value)


def test_a_budget_that_frozen_layers_forbid_is_refused_and_they_are_named() -> None:
    with pytest.raises(
        BudgetError, match=r"cannot be met.*a frozen layer reads or gives them \(64 channels\)"
    ):
        prune(frozen("trunk"), Budget(macs=0.5), steps=0, **QUICK)


def blind(problem: Problem) -> Groups:
    """Groups that do not know which outputs go with them, so that more goes than is predicted."""
    return replace(problem_groups(problem), rows={}, outputs={})


@pytest.mark.parametrize("kind", ["macs", "params"])
def test_rounds_that_take_more_than_was_predicted_are_counted(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "problem_groups", blind)
    problem = two_heads(width=32)
    problem.model.colour = nn.Conv2d(32, 300, 1)
    small = prune(problem, Budget(**{kind: 0.7}), steps=0, **QUICK)  # pyright: ignore[reportArgumentType]
    assert 0.95 * 0.7 < share(small, kind) <= 0.7


def test_what_rounds_before_took_too_much_is_said() -> None:
    class Costs:
        def __call__(self, alive: Tensor) -> dict[Kind, float]:
            return {"macs": float(alive.sum())}

        def correct(self, alive: Tensor, found: Mapping[Kind, float]) -> None: ...

    dense, present = torch.ones(10, dtype=torch.bool), torch.arange(10) < 3

    def found(present: Tensor) -> str:
        known: Any = Costs(), {"macs": 9.0 if present is not dense else 20.0}, present, dense
        return nearest(lambda _: present, lambda alive: (0, known[0](alive)), *known).why

    assert found(present) == (
        "3 macs where 9 macs may be: so much went in the rounds, or for the networks, before; give fewer rounds."
    )
    assert found(dense) == ""


def test_a_frozen_layer_is_not_repaired() -> None:
    problem = two_heads()
    with torch.no_grad():
        for layer in (problem.model.colour, problem.model.shade[0]):
            layer.weight[:, :8] = 0
    problem.model.colour.weight.requires_grad_(False)
    small = secateur.compact(problem.model.eval(), problem.train[0][0])
    before = small.colour.weight.clone()
    assert small.colour.in_channels == 8
    assert repair(problem, small, 4) == ["shade.0"]
    assert torch.equal(small.colour.weight, before)
