"""A floor that is broken after a round's few steps, and held after as many as the last round has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torchmetrics import MeanAbsoluteError

from problems import two_heads
from secateur import Budget, prune
from secateur.budget import BudgetError, record_of, rounds
from secateur.budget.judge import Judge
from secateur.problem.problem import Problem

HOW: dict[str, Any] = {"steps": 16, "rounds": 3, "batches": 2, "floors": {"shade": 0.5}, "progress": False}
NOISE, FEW, LAST = [1, 1], 4, 8  # steps: of copies of the dense network, of a round, of the last


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps of each training."""
    fit, seen = rounds.fit, list[int]()

    def counted(*given: Any, steps: int, **how: Any) -> Any:
        seen.append(steps)
        return fit(*given, steps=steps, **how)

    monkeypatch.setattr(rounds, "fit", counted)
    return seen


@pytest.fixture
def problem() -> Problem:
    made = two_heads()
    shade = replace(made.tasks["shade"], metrics={"l1": MeanAbsoluteError()})
    return replace(made, tasks=made.tasks | {"shade": shade})


def losing(monkeypatch: pytest.MonkeyPatch, shares: list[float]) -> None:
    """The first looks find these losses, any later one none."""
    ahead = iter([0.0, 0.0, *shares])  # the dense network's two come first
    monkeypatch.setattr(Judge, "lost", lambda *_: {"shade": next(ahead, 0.0)})


def test_what_a_round_breaks_and_more_steps_win_back_stays(
    monkeypatch: pytest.MonkeyPatch, problem: Problem, trained: list[int], capsys: pytest.CaptureFixture
) -> None:
    losing(monkeypatch, [0.7, 0.1])
    small = prune(problem, Budget(macs=0.5), **HOW | {"progress": True})
    assert trained == [*NOISE, FEW, LAST, FEW, LAST]
    assert "round 1/3: shade loses 70.0% (at most 50%); training on for 8 steps" in capsys.readouterr().err
    record = record_of(small)
    assert record is not None
    assert len(record.left) == 3


def test_what_stays_broken_is_taken_back_and_chosen_anew(
    monkeypatch: pytest.MonkeyPatch, problem: Problem, trained: list[int]
) -> None:
    losing(monkeypatch, [0.7, 0.6])
    prune(problem, Budget(macs=0.5), **HOW)
    assert trained == [*NOISE, FEW, LAST, FEW, FEW, LAST]
    trained.clear()
    final = Judge.final
    looks = iter([("shade",), ()])  # as the last round is judged
    monkeypatch.setattr(Judge, "final", lambda self, *given: (final(self, *given), next(looks))[1])
    losing(monkeypatch, [])
    prune(problem, Budget(macs=0.5), **HOW)
    assert trained == [*NOISE, FEW, FEW, LAST, LAST]
    monkeypatch.setattr(Judge, "final", final)
    losing(monkeypatch, [0.7, 0.6] * 9)
    with pytest.raises(BudgetError, match=r"shade loses 60.0% \(at most 50%\)"):
        prune(problem, Budget(macs=0.5), **HOW)
