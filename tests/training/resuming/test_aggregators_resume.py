"""What an aggregator remembers: checkpoints, resumption, attempts under floors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchjd.aggregation import PCD, ExcessMTL, GradVac, UPGrad

from problems import equal, two_heads, weights
from secateur import GradualMagnitude, fit
from secateur.training.aggregators import Memory
from secateur.training.floors import Attempt
from secateur.training.resuming.resumption import Resumption


class Stopped(Exception):
    pass


def stopped_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    save = Resumption.save

    def once(self: Resumption, at: int, *rest: Any) -> None:
        save(self, at, *rest)
        if at == step:
            raise Stopped

    monkeypatch.setattr(Resumption, "save", once)


class Remembers:
    """An aggregator of one's own: the running mean of the directions."""

    def __init__(self) -> None:
        self.mean = torch.zeros(())

    def __call__(self, matrix: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * matrix.sum(0)
        return self.mean

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean = state["mean"]


class Filtered(nn.Module):
    """The same as a module, its memory in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def reset(self) -> None:
        self.mean = torch.zeros(())

    def forward(self, matrix: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * matrix.sum(0)
        return self.mean


@pytest.mark.parametrize(
    "make", [GradVac, ExcessMTL, lambda: ExcessMTL(n_warmup_steps=9), PCD, UPGrad, Remembers, Filtered],
    ids=["GradVac", "ExcessMTL", "ExcessMTL, warming up", "PCD", "UPGrad", "own", "own module"],
)  # fmt: skip
def test_a_stopped_run_goes_on_with_what_the_aggregator_remembers(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, resumed = two_heads(), two_heads()
    fit(straight, steps=12, aggregator=make())
    path = tmp_path / "c.pt"
    with monkeypatch.context() as patched:
        stopped_after(patched, 7)
        with pytest.raises(Stopped):
            fit(two_heads(), steps=12, aggregator=make(), checkpoint=path, checkpoint_every=7)
    fit(resumed, steps=12, aggregator=make(), checkpoint=path, checkpoint_every=7)
    assert equal(weights(straight), weights(resumed))


class Unsaveable:
    """Remembers what no checkpoint can hold."""

    def __init__(self) -> None:
        self.solver = object()

    def reset(self) -> None:
        self.solver = object()

    def __call__(self, matrix: Tensor) -> Tensor:
        return matrix.sum(0)


def test_what_cannot_be_saved_is_refused_before_training(tmp_path: Path) -> None:
    problem = two_heads()
    before = weights(problem)
    with pytest.raises(ValueError, match=r"Unsaveable keeps solver, of type object, .* without a checkpoint"):
        fit(problem, steps=2, aggregator=Unsaveable(), checkpoint=tmp_path / "c.pt")
    assert equal(before, weights(problem))
    fit(problem, steps=2, aggregator=Unsaveable())


@pytest.mark.parametrize(("first", "second"), [(GradVac, PCD), (GradVac, UPGrad), (UPGrad, PCD)])
def test_a_checkpoint_of_another_aggregator(first: Any, second: Any, tmp_path: Path) -> None:
    fit(two_heads(), steps=2, aggregator=first(), checkpoint=tmp_path / "c.pt")
    with pytest.raises(ValueError, match=f"aggregator is {first.__name__} there and {second.__name__} here"):
        fit(two_heads(), steps=2, aggregator=second(), checkpoint=tmp_path / "c.pt")


def test_memory_moves_to_the_device_of_training() -> None:
    made = ExcessMTL()
    made(torch.randn(2, 5))
    state = Memory(made, torch.device("cpu")).state_dict()
    state["host"] = {path: [] for path in state["host"]}  # as if it had been on a GPU
    other = ExcessMTL()
    Memory(other, torch.device("meta")).load_state_dict(state)
    assert other.weighting.get_buffer("_sq_grad_sum").device.type == "meta"


def test_attempts_under_floors_share_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt begins with the aggregator as it was given, so that the last one can be repeated alone."""
    problem, alone, seen = two_heads(), two_heads(), []

    def three(once: Any, problem: Any, method: Any, *_: Any) -> Any:
        initial = weights(problem)
        for _ in range(3):
            problem.model.load_state_dict(initial)
            history = once(GradualMagnitude(0.5), None)
            seen.append(weights(problem))
        history.attempts = [Attempt(0.5, {}, ())]
        return history

    monkeypatch.setattr(sys.modules["secateur.training.fit"], "within_floors", three)
    given = GradVac()
    fit(problem, GradualMagnitude(0.5), steps=8, aggregator=given, floors={"shade": 0.1})
    monkeypatch.undo()
    fit(alone, GradualMagnitude(0.5), steps=8, aggregator=GradVac())
    assert all(equal(one, weights(alone)) for one in seen)
    assert (
        Memory(given, torch.device("cpu")).state_dict() == Memory(GradVac(), torch.device("cpu")).state_dict()
    )
