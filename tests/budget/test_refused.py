"""What is refused before work is lost, and floors that are held or said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from problems import TwoHeads, equal, two_heads, weights
from secateur import Budget, Problem, Task, fit, prune
from secateur.budget import BudgetError, judge, prune_family, record_of
from secateur.budget.measured import Costing
from secateur.measures.metrics import MeanOf

QUICK: dict[str, Any] = {"batches": 2, "progress": False, "steps": 0}


def judged(metric: Any) -> Problem:
    """Two heads with one metric of the task ``shade``."""
    problem = two_heads()
    tasks = {n: replace(t, metrics={"m": metric} if n == "shade" else {}) for n, t in problem.tasks.items()}
    return replace(problem, tasks=tasks)


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("it was measured before it was refused")


@pytest.mark.parametrize(
    "metric",
    [
        lambda p, y: p.mean() * torch.nan,
        lambda p, y: p.mean() * 0,
    ],
)
def test_a_floor_of_which_no_share_can_be_taken_is_refused(metric: Any) -> None:
    problem = judged(MeanOf(metric, higher_is_better=False))
    with pytest.raises(ValueError, match=r"floors names 'shade', .* no share can be lost"):
        prune(problem, Budget(macs=0.5), floors={"shade": 0.1}, **QUICK)


def test_a_metric_that_becomes_nan_breaks_its_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate, asked = judge.evaluate, list[int]()

    def evaluated(*given: Any) -> Any:
        asked.append(1)
        found = evaluate(*given)
        return found if len(asked) == 1 else {**found, "shade": {"m": float("nan")}}

    monkeypatch.setattr(judge, "evaluate", evaluated)
    problem = judged(MeanOf(l1_loss, higher_is_better=False))
    with pytest.raises(BudgetError, match="shade loses inf%"):
        prune(problem, Budget(macs=0.5), floors={"shade": 0.5}, **QUICK)


def test_a_metric_without_a_direction_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Costing, "measure", never)
    with pytest.raises(ValueError, match="higher_is_better = None"):
        prune(judged(lambda p, y: (p - y).abs().mean()), Budget(macs=0.5), floors={"shade": 0.1}, **QUICK)


def test_without_floors_such_a_metric_costs_no_work() -> None:
    small = prune(judged(lambda p, y: (p - y).abs().mean()), Budget(macs=0.5), **QUICK)
    record = record_of(small)
    assert record is not None
    assert record.lost == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"score": "tailor"}, "no score 'tailor'; give one of taylor"),
        ({"steps": 1.5}, "steps is 1.5"),
        ({"steps": "3"}, "steps is '3'"),
        ({"rounds": True}, "rounds is True"),
        ({"batches": 1.5}, "batches is 1.5"),
        ({"repair": -1}, "repair is -1"),
        ({"floors": {"shade": "1%"}}, "it is a share"),
    ],
)
def test_options_are_checked_first(monkeypatch: pytest.MonkeyPatch, options: Any, said: str) -> None:
    monkeypatch.setattr(Costing, "measure", never)
    with pytest.raises(ValueError, match=said):
        prune(two_heads(), Budget(macs=0.5), **{**QUICK, **options})


def test_a_network_without_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Costing, "measure", never)
    problem = two_heads()
    problem.model.to("meta")
    with pytest.raises(ValueError, match=r"prune: parameters on the meta device have no values .*to_empty"):
        prune(problem, Budget(macs=0.5), **QUICK)


def test_budgets_are_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Costing, "measure", never)
    for given in (0.5, "0.5 macs"):
        with pytest.raises(ValueError, match="given as budgets"):
            prune(two_heads(), given, **QUICK)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="given as budgets"):
        prune_family(two_heads(), Budget(macs=0.5), **QUICK)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="5 is given as budgets"):
        prune_family(two_heads(), 5, **QUICK)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ms": 5, "engine": "tensorrt"}, "no engine 'tensorrt'; give one of torch"),
        ({"ms": 5, "threads": "2"}, "threads is '2'"),
        ({"ms": 5, "threads": 1.5}, "threads is 1.5"),
        ({"macs": True}, "macs is True"),
    ],
)
def test_a_budget_that_means_nothing(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Budget(**given)
    with pytest.raises(ValueError, match="is no limit"):
        Budget.parse("1.2.3 ms")
    assert Budget(macs=1.0).shares == {"macs": 1.0}


def test_more_threads_than_cores_are_refused_where_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Costing, "measure", never)
    with pytest.raises(
        ValueError, match=r"prune: threads is 9999, more than the cores .* give that many at most"
    ):
        prune(two_heads(), Budget(ms=5, engine="torch", threads=9999), **QUICK)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda p, y: ((p - p) * 1.0).sum().sqrt() + l1_loss(p, y), "'shade' is not finite"),
        (lambda p, y: (p * 0).sum() + 1, "gradient of task 'shade' is zero"),
    ],
)
def test_scores_of_nothing_are_said(loss: Any, said: str) -> None:
    problem = two_heads()
    problem = replace(problem, tasks=dict(problem.tasks) | {"shade": Task(loss)})
    before = weights(problem)
    with pytest.raises(ValueError, match=said):
        prune(problem, Budget(macs=0.5), **QUICK)
    assert equal(before, weights(problem))


class Unlisted(nn.Module):
    """A head in a plain dict, which no file of weights has."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(3, 8, 3, padding=1)
        self.heads = {"shade": nn.Conv2d(8, 1, 1)}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"shade": self.heads["shade"](self.trunk(x).relu())}


@dataclass
class Predictions:
    """What a model of somebody's returns."""

    colour: Tensor
    shade: Tensor


class Other(TwoHeads):
    def forward(self, x: Tensor) -> Any:
        return Predictions(**super().forward(x))


def test_what_training_would_refuse_is_refused_in_its_words_without_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Costing, "measure", never)
    plain = two_heads()
    shade = [(x, {"shade": t["shade"]}) for x, t in plain.train]
    for problem, said in (
        (
            Problem(Unlisted(), {"shade": plain.tasks["shade"]}, shade),
            r"neither trained nor saved.*self\.heads",
        ),
        (replace(plain, train=[]), "The training loader gave no batch"),
        (replace(plain, model=Other()), "The model returned Predictions"),
    ):
        for verb in (
            lambda p: prune(p, Budget(macs=0.5), **QUICK),
            lambda p: fit(p, steps=1, progress=False),
        ):
            with pytest.raises(ValueError, match=said):
                verb(problem)


def test_weights_that_cannot_be_scored_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Costing, "measure", never)
    problem = two_heads()
    with torch.inference_mode():
        made = two_heads()
        with pytest.raises(ValueError, match=r"under torch\.inference_mode"):
            prune(problem, Budget(macs=0.5), **QUICK)
    with pytest.raises(ValueError, match=r"under torch\.inference_mode"):
        prune(made, Budget(macs=0.5), **QUICK)
    with torch.no_grad():
        problem.model.trunk[0].weight[0] = torch.nan
        problem.model.trunk[1].running_mean[0] = torch.nan
    with pytest.raises(ValueError, match=r"trunk\.0\.weight, trunk\.1\.running_mean of the model are NaN"):
        prune(problem, Budget(macs=0.5), **QUICK)


def test_zero_heads_are_dead() -> None:
    problem = two_heads()
    with torch.no_grad():
        for name, parameter in problem.model.named_parameters():
            if not name.startswith("trunk"):
                parameter.zero_()
    with pytest.raises(ValueError, match="'colour', 'shade' are dead"):
        prune(problem, Budget(macs=0.5), **QUICK)
