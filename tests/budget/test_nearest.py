"""Of what fits the nearest to the budget is kept, and where it is far from it, why is said."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from problems import two_heads
from secateur import Budget, prune
from secateur.budget import BudgetError, record_of
from secateur.budget.limits import Kind
from secateur.budget.measured import Costing
from secateur.budget.nearest import nearest
from secateur.measures import count_macs


class Line:
    """Costs of a network of channels: so many of 100, predicted in proportion, corrected by a line as :class:`CostModel` does."""

    def __init__(self, dense: float) -> None:
        self.factor, self.dense = dense / 100, dense

    def __call__(self, alive: Tensor) -> dict[Kind, float]:
        return {"ms": self.factor * int(alive.sum())}

    def correct(self, alive: Tensor, found: Mapping[Kind, float]) -> None:
        self.factor = found["ms"] / int(alive.sum())


def search(clock, limit: float, step: int = 1):
    costs, measured = Line(clock(100)), list[int]()

    def choose(aim: Mapping[Kind, float]) -> Tensor:
        count = min(100, int(aim["ms"] / costs.factor)) // step * step
        return torch.arange(100) < max(count, step)

    def measure(alive: Tensor) -> tuple[int, dict[Kind, float]]:
        measured.append(int(alive.sum()))
        return measured[-1], {"ms": clock(measured[-1])}

    whole = torch.ones(100, dtype=torch.bool)
    found = nearest(choose, measure, costs, {"ms": limit}, whole, whole)  # pyright: ignore[reportArgumentType]
    return found, measured


@pytest.mark.parametrize("limit", [30.0, 50.0, 80.0])
@pytest.mark.parametrize(
    "clock",
    [
        lambda n: float(n),
        lambda n: 20.0 + 0.8 * n,
        lambda n: n**2 / 100,
        lambda n: 10 * n**0.5,
        lambda n: float(n) * (1.2 if n % 8 else 1.0),  # an engine that likes multiples
    ],
)
def test_time_is_within_five_percent_whatever_it_follows(clock, limit: float) -> None:
    found, measured = search(clock, limit)
    assert abs(found.costs["ms"] / limit - 1) <= 0.05
    assert found.why == ""
    assert len(measured) <= 10


def test_the_largest_that_fits_is_kept_not_the_last() -> None:
    found, measured = search(lambda n: 30.0 if n <= 60 else 90.0, 50.0)
    fitting = [count for count in measured if count <= 60]
    assert found.made == max(fitting, key=lambda n: (-abs(30.0 / 50 - 1), n)) or found.costs["ms"] == 30.0
    assert found.why == "30 ms where 50 ms may be: the next larger network that was tried has 90 ms."


def test_coarse_steps_are_said() -> None:
    found, _ = search(lambda n: float(n), 70.0, step=40)
    assert found.made == 40
    assert "40 ms where 70 ms may be" in found.why


def test_nothing_that_fits_is_an_error_with_the_nearest() -> None:
    with pytest.raises(BudgetError, match=r"60 ms against 50, measured"):
        search(lambda n: 60.0 + n / 1e6, 50.0)


def test_a_time_that_jumps_is_said_where_it_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    def clock(_: Costing, model: torch.nn.Module, *__: object) -> dict[Kind, float]:
        macs = sum(count_macs(model, torch.zeros(1, 3, 8, 8)).values())
        return {"ms": 100.0 if macs > 120_000 else 30.0}

    monkeypatch.setattr(Costing, "measure", clock)
    with pytest.warns(
        UserWarning,
        match=r"more than 5 % below the budget: 30 ms where 50 ms may be: the next larger .* 100 ms",
    ):
        small = prune(
            two_heads(), Budget(ms="0.5x", engine="torch"), steps=0, rounds=1, batches=2, progress=False
        )
    record = record_of(small)
    assert record is not None
    assert record.short
    assert sum(count_macs(small, torch.zeros(1, 3, 8, 8)).values()) > 90_000
