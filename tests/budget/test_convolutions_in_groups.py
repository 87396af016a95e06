"""Of a convolution in groups whole groups go, or the same channels of every group: budgets reach what compact can make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from secateur import Budget, Problem, Task, prune
from secateur.budget import BudgetError, latency, record_of
from secateur.budget.cost_model import CostModel
from secateur.budget.latency import Latency
from secateur.deployment.bench import LayerTime
from secateur.shrinking import problem_groups

QUICK: dict[str, Any] = {"batches": 2, "progress": False, "steps": 0, "repair": 0}


class Net(nn.Module):
    """A convolution in ``groups`` that reads one convolution, or two joined."""

    def __init__(self, groups: int = 2, joined: bool = False) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8 if joined else 16, 3, padding=1)
        self.b = nn.Conv2d(3, 8, 3, padding=1) if joined else None
        self.g = nn.Conv2d(16, 16, 3, padding=1, groups=groups)
        self.h = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.a(x) if self.b is None else torch.cat([self.a(x), self.b(x)], 1)
        return {"y": self.h(self.g(z.relu()).relu())}


def made(groups: int = 2, joined: bool = False) -> Problem:
    torch.manual_seed(0)
    xs = [torch.randn(2, 3, 8, 8) for _ in range(2)]
    return Problem(Net(groups, joined), {"y": Task(l1_loss)}, [(x, {"y": x[:, :1].abs()}) for x in xs])


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("groups", "joined", "smallest"), [(2, False, 79), (2, True, 79), (8, False, 97)])
@pytest.mark.parametrize("kind", ["params", "macs"])
def test_budgets_are_met_as_predicted_down_to_what_compact_can_make(
    kind: Any, groups: int, joined: bool, smallest: int
) -> None:
    problem = made(groups, joined)
    for share in (0.7, 0.3):
        record = record_of(prune(problem, Budget(**{kind: share}), **QUICK))
        assert record is not None
        exact = 1e-9 if kind == "macs" else 0.02  # biases are taken to shrink like weights
        assert record.predicted[kind] == pytest.approx(record.costs[kind], rel=exact)
        assert record.first[kind] == pytest.approx(record.costs[kind], rel=exact)
        assert 0.8 * record.limits[kind] < record.costs[kind] <= record.limits[kind]
    if kind == "params":
        assert count(prune(problem, Budget(params=smallest), **QUICK)) == smallest
        with pytest.raises(BudgetError, match=rf"that prune makes of this shape has {smallest} params"):
            prune(problem, Budget(params=smallest - 1), **QUICK)


def test_the_table_times_the_same_channels_of_every_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def ms(single: Any, *_: object) -> LayerTime:
        asked.append(single)
        return LayerTime(0.001 * single.inputs * single.outputs / single.groups, True)

    monkeypatch.setattr(latency, "layer_ms", ms)
    monkeypatch.setattr(Latency, "step", lambda _: 1)
    problem = made()
    groups = problem_groups(problem)
    table = Latency("onnxruntime", cache=tmp_path)
    costs = CostModel(
        problem.model, torch.randn(1, 3, 8, 8), groups, Budget(ms=1.0), {"ms": 0.32 + 0.016 + 0.048}, table
    )
    assert {single.groups for single in asked} == {1, 2}
    half = torch.zeros(groups.count, dtype=torch.bool)
    half[groups.index["g.weight"][:4]] = True
    half[groups.rows["g.weight"][:2]] = True
    place = next(i for i, layer in enumerate(costs.layers) if layer.weight == "g.weight")
    whole, less = (costs.by_layer(alive, "ms")[place] for alive in (torch.ones_like(half), half))
    assert float(less / whole) == pytest.approx(0.5 * 0.25)
