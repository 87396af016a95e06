"""A task that predicts the same whatever the input is named wherever it would pass as a result."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import secateur
from problems import two_heads
from processes.commands import Still
from secateur import Budget, Problem, evaluate, export, prune
from secateur.budget import BudgetError, judge
from secateur.deployment.bench import bench
from secateur.deployment.export import describe
from secateur.measures import DeadTaskWarning, dead_said, unmoved, varied
from secateur.measures.metrics import MeanOf


def dead(problem: Problem, how: str) -> Problem:
    """With a head that no input moves: its weights are zero, its ReLU is shut, or its share is lost in rounding."""
    head: Any = problem.model.shade
    with torch.no_grad():
        if how == "zero":
            head[2].weight.zero_()
        elif how == "shut":
            head[0].bias.fill_(-1e3)
        else:
            head[2].weight *= 1e-9
            head[2].bias.fill_(1.0)
    return problem


HOWS = ["zero", "shut", "rounding"]
X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("how", HOWS)
def test_it_is_found_by_what_is_predicted(how: str) -> None:
    problem = dead(two_heads(), how)
    assert problem.model.training
    assert unmoved(problem.model, varied(X)) == ["shade"]
    assert problem.model.training
    assert unmoved(problem.model, [X]) == []  # of one sample nothing is known
    assert unmoved(problem.model, [X, X.expand(3, -1, -1, -1)]) == []  # nor of one that comes again
    assert unmoved(two_heads().model, varied(torch.zeros(1, 3, 8, 8))) == []


class Words(nn.Module):
    def __init__(self, alive: bool) -> None:
        super().__init__()
        self.table, self.out, self.alive = nn.Embedding(9, 4), nn.Linear(4, 2), alive

    def forward(self, x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        y = self.table(x["ids"])[:, 0] * x["mask"][:, :1]
        return {"topic": self.out(y * self.alive)}


@pytest.mark.parametrize("alive", [True, False])
def test_whole_numbers_are_put_in_another_order(alive: bool) -> None:
    x = {"ids": torch.arange(6).view(1, 6), "mask": torch.ones(1, 6)}
    assert unmoved(Words(alive), varied(x)) == ([] if alive else ["topic"])


def test_what_the_network_does_not_take_says_nothing() -> None:
    def refuses(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
        if not torch.equal(x, X):
            raise RuntimeError("only this picture")
        return model(x)

    assert unmoved(dead(two_heads(), "zero").model, varied(X), refuses) == []


def test_evaluate_and_export_say_it(tmp_path: Path) -> None:
    problem = dead(two_heads(), "shut")
    with pytest.warns(DeadTaskWarning, match="evaluate: 'shade' is dead"):
        evaluate(problem, "val")
    pytest.importorskip("onnxscript")
    with pytest.warns(DeadTaskWarning, match="export: 'shade' is dead"):
        path = export(problem.model, X, tmp_path / "net.onnx")
    assert describe(path)["dead"] == ["shade"]
    assert "dead" not in describe(export(two_heads().model, X, tmp_path / "alive.onnx"))


def test_bench_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        import_module("secateur.deployment.bench.bench"), "Worker", Still
    )  # no time is asked for
    made = bench({"net": two_heads().model, "dead": dead(two_heads(), "shut").model}, X, repeats=1)
    assert made.networks["dead"].dead == ("shade",)
    assert made.networks["net"].dead == ()
    assert made.advice[0] == f"dead: {dead_said(['shade'])}"


def test_prune_takes_none_and_makes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    how: dict[str, Any] = {"steps": 0, "batches": 2, "progress": False}
    with pytest.raises(ValueError, match="prune: 'shade' is dead"):
        prune(dead(two_heads(), "zero"), Budget(macs=0.9), **how)
    looked = list[int]()

    def found(*_: object) -> list[str]:
        looked.append(1)
        return [] if len(looked) == 1 else ["shade"]

    monkeypatch.setattr(judge, "unmoved", found)
    with pytest.raises(BudgetError, match="shade is dead, its prediction the same whatever the input at"):
        prune(two_heads(), Budget(macs=0.9), **how)
    assert len(looked) == 5  # chosen anew three times


def test_validation_on_the_way_says_nothing() -> None:
    problem = two_heads()
    metric = {"l1": MeanOf(nn.functional.l1_loss, higher_is_better=False)}
    problem.tasks["shade"].__dict__["metrics"] = metric
    with torch.no_grad():
        problem.model.shade[2].weight.zero_()  # pyright: ignore
    history = secateur.fit(
        problem, steps=2, validate_every=1, optimizer=lambda g: torch.optim.SGD(g, lr=0.1), progress=False
    )
    assert sum("val" in row for row in history.rows) == 2
