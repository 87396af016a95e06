"""Repair never makes a layer worse, and does without layers that it cannot fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss

import secateur
from problems import two_heads
from secateur import Budget, Problem, Task, prune, save
from secateur.budget import record_of, repair, rounds
from secateur.measures import count_macs

QUICK: dict[str, Any] = {"batches": 2, "progress": False, "steps": 0}


class Wide(nn.Module):
    """Many inputs and few samples: least squares fits them all, and nothing else."""

    def __init__(self, kind: str = "") -> None:
        super().__init__()
        self.first, self.second = nn.Linear(32, 128), nn.Linear(128, 128)
        self.third, self.out = nn.Linear(128, 128), nn.Linear(128, 1)
        self.kind = kind
        if kind == "tied":
            self.third.weight = self.second.weight

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.first(input=x).relu() if self.kind == "named" else self.first(x).relu()
        if self.kind == "by weight":
            x = linear(x, self.second.weight, self.second.bias).relu()
        else:
            x = self.second(x).relu()
        return {"a": self.out(self.third(x).relu())}


def wide(kind: str = "") -> Problem:
    torch.manual_seed(0)
    xs = torch.randn(8, 4, 32)
    return Problem(Wide(kind), {"a": Task(mse_loss)}, [(x, {"a": x.sum(1, keepdim=True)}) for x in xs])


def test_a_fit_that_is_worse_on_batches_held_out_is_left() -> None:
    problem = wide()
    with (
        torch.no_grad()
    ):  # what reads channels 64 and more is noise: none is missed, and what is fitted is noise
        for layer in (problem.model.second, problem.model.third):
            layer.weight[:, 64:] = 0
    small = secateur.compact(problem.model, torch.randn(2, 32))
    before = {name: value.clone() for name, value in small.named_parameters()}
    for x, _ in problem.train:
        noise = torch.randn_like(x)
        x.copy_(noise)
    handle = problem.model.second.register_forward_hook(lambda m, x, y: torch.randn_like(y) * 10 + y)
    assert "second" not in repair(problem, small, 8)
    handle.remove()
    assert torch.equal(before["second.weight"], small.second.weight)


@pytest.mark.parametrize("kind", ["tied", "by weight", "named"])
def test_layers_called_in_other_ways(kind: str) -> None:
    problem = wide(kind)
    small = prune(problem, Budget(macs=0.6), **QUICK)
    made = record_of(small)
    assert made is not None
    found = sum(count_macs(small, torch.zeros(1, 32)).values())
    assert 0.5 * made.dense["macs"] < found == made.costs["macs"] <= 0.6 * made.dense["macs"]
    assert (small.third.weight is small.second.weight) == (kind == "tied")


def test_a_pruned_network_is_pruned_again(tmp_path: Any) -> None:
    problem = two_heads()
    first = prune(problem, Budget(macs=0.7), **QUICK)
    record = record_of(first)
    second = prune(replace(problem, model=first), Budget(macs=0.6), **QUICK)
    assert record_of(first) is record
    save(second, tmp_path / "second.safetensors")
    loaded = secateur.load(type(problem.model)(), tmp_path / "second.safetensors")
    x = torch.randn(2, 3, 8, 8)
    for task, expected in second.eval()(x).items():
        assert torch.equal(expected, loaded.eval()(x)[task])


@pytest.mark.parametrize("count", [1, 3])
def test_channels_are_scored_anew_in_each_round(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    scored: list[int] = []
    own = rounds.task_worth

    def worth(problem: Problem, groups: Any, *how: Any) -> Any:
        weights = dict(problem.model.named_parameters())
        scored.append(int((groups.norms({name: weights[name].detach() for name in groups.axis}) > 0).sum()))
        return own(problem, groups, *how)

    monkeypatch.setattr(rounds, "task_worth", worth)
    small = prune(two_heads(), Budget(macs=0.5), rounds=count, **QUICK)
    assert len(scored) == count
    assert sorted(set(scored), reverse=True) == scored, "fewer live at each"
    record = record_of(small)
    assert record is not None
    assert record.costs["macs"] <= 0.5 * record.dense["macs"]
