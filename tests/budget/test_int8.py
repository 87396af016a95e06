"""A budget in int8 holds for the file, floors are judged by the file, and heads that need it stay in float."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, l1_loss

from problems import two_heads
from secateur import Budget, Problem, evaluate, export, prune
from secateur.budget import BudgetError, record_of, rounds
from secateur.budget.int8 import judged
from secateur.budget.measured import Costing
from secateur.deployment.export import describe
from secateur.measures.metrics import MeanOf
from secateur.runs import Exported

pytest.importorskip("onnxscript", reason="needs onnx: pip install 'secateur[onnx]'")
QUICK: dict[str, Any] = {"batches": 2, "progress": False, "steps": 0}


def judged_problem(shift: float = 0.0, off: float = 0.02) -> Problem:
    """Two heads with a metric each; ``shade`` is ``off`` on top of ``shift``, which bytes round away where it is large."""
    problem = two_heads()
    model = problem.model.eval()
    with torch.no_grad():
        model.shade[2].bias += shift  # pyright: ignore
        data = [(x, {"colour": y["colour"], "shade": model(x)["shade"] + off}) for x, y in problem.train]
    colour = replace(problem.tasks["colour"], metrics={"ce": MeanOf(cross_entropy, higher_is_better=False)})
    shade = replace(problem.tasks["shade"], metrics={"l1": MeanOf(l1_loss, higher_is_better=False)})
    return Problem(model, {"colour": colour, "shade": shade}, data, data[:2])


def test_the_file_keeps_the_budget_and_its_losses_are_those_of_the_file(tmp_path: Path) -> None:
    problem = judged_problem()
    small = prune(problem, Budget(macs=0.6, mb="0.9x"), floors={"colour": 0.9}, quantize="int8", **QUICK)
    record = record_of(small)
    assert record is not None
    assert record.quantize == "int8"
    assert record.keep_float == []
    assert record.costs["mb"] <= record.limits["mb"] == 0.9 * record.dense["mb"]
    x = problem.train[0][0][:1]  # pyright: ignore[reportIndexIssue]
    path = export(small, x, tmp_path / "net.onnx", quantize="int8", calibrate=problem)
    file = replace(problem, model=Exported(path))
    found, dense = evaluate(file, "val"), evaluate(problem, "val")
    for task, metric in (("colour", "ce"), ("shade", "l1")):
        lost = (found[task][metric] - dense[task][metric]) / dense[task][metric]
        assert record.lost[task] == pytest.approx(lost)
    assert record.errors == describe(path)["quantized"]["errors"]
    fixed = export(small, x, tmp_path / "f.onnx", dynamic=False, quantize="int8", calibrate=problem)
    assert record.costs["mb"] == fixed.stat().st_size / 1e6


def test_a_file_that_grew_in_training_is_chosen_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where weights that rounded to zero are none any more; a file is a byte for each weight, of four in float."""
    grown: list[float] = []

    def megabytes(costing: Costing, model: nn.Module, _: object, *, finished: bool = False) -> float:
        found = sum(p.numel() for p in model.parameters()) * (1 if costing.quantize else 4) / 1e6
        if not finished:
            return found
        grown.append(found + 0.0005)
        return grown[-1]

    monkeypatch.setattr(Costing, "megabytes", megabytes)
    small = prune(two_heads(), Budget(mb="0.2x"), quantize="int8", **QUICK | {"steps": 1, "rounds": 1})
    record = record_of(small)
    assert record is not None
    assert grown[-1] == record.costs["mb"] <= record.limits["mb"] < grown[0]


def test_a_head_that_breaks_its_floor_stays_in_float(tmp_path: Path) -> None:
    problem = judged_problem(shift=1000.0)
    floors, budget = {"colour": 0.9, "shade": 0.9}, Budget(mb="0.9x")  # which int8 alone keeps
    x = problem.train[0][0][:1]  # pyright: ignore[reportIndexIssue]
    without = judged(problem, x, {}, evaluate(problem, "val"))
    assert without.keep == ()
    assert without.lost["shade"] > 0.9  # steps of 4, where the signal is below 1
    small = prune(problem, budget, floors=floors, quantize="int8", **QUICK)
    record = record_of(small)
    assert record is not None
    assert record.keep_float == ["shade"]
    assert record.lost["shade"] <= 0.9
    path = export(
        small, x, tmp_path / "net.onnx", quantize="int8", calibrate=problem, keep_float=record.keep_float
    )
    assert describe(path)["quantized"]["float"] == ["shade"]


def test_what_float_heads_do_not_help_is_said_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was trained before it was refused")

    monkeypatch.setattr(rounds, "fit", never)
    with pytest.raises(
        BudgetError, match=r"in int8 the dense network itself breaks .* shade loses .* \(at most 0%\)"
    ):
        prune(
            judged_problem(off=1e-4),
            Budget(macs=0.6),
            floors={"shade": 0.0, "colour": 0.9},
            quantize="int8",
            **QUICK | {"steps": 9},
        )


@pytest.mark.parametrize(
    ("budget", "options", "said"),
    [
        (Budget(ms=1, engine="torch"), {"quantize": "int8"}, "which onnxruntime, openvino, sparse run"),
        (Budget(macs=0.5), {"quantize": "int4"}, "'int4'"),
    ],
)
def test_what_does_not_go_together_is_refused_first(
    monkeypatch: pytest.MonkeyPatch, budget: Budget, options: dict, said: str
) -> None:
    monkeypatch.setattr(
        Costing, "measure", lambda *_, **__: pytest.fail("it was measured before it was refused")
    )
    with pytest.raises(ValueError, match=said):
        prune(two_heads(), budget, **QUICK, **options)


def test_nodes_in_float_are_those_of_the_head_alone(tmp_path: Path) -> None:
    problem = two_heads()
    x = problem.train[0][0]  # pyright: ignore[reportIndexIssue]
    quantised: dict[str, set[str]] = {}
    for name, keep in {"none": [], "task": ["shade"], "module": ["shade.0", "trunk.0"]}.items():
        path = export(
            problem.model,
            x,
            tmp_path / f"{name}.onnx",
            quantize="int8",
            calibrate=problem,
            keep_float=keep,
            weights="dense",
        )
        graph = onnx.load(path).graph
        bytes_ = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
        quantised[name] = {
            node.name for node in graph.node if node.op_type == "Conv" and node.input[1] in bytes_
        }
    convolutions = sorted(quantised["none"])
    assert len(convolutions) == 5
    assert quantised["none"] - quantised["task"] == set(convolutions[3:])
    assert quantised["none"] - quantised["module"] == {convolutions[0], convolutions[3]}
    for wrong, said in (
        (["shades"], r"its tasks are colour, shade\. Did you mean 'shade'\?$"),
        (["nothing"], r"its tasks are colour, shade\. Modules are named as their weights are\.$"),
        ("shade", "give a list"),
        (["trunk.2"], "no layer in the file"),
    ):
        with pytest.raises(ValueError, match=said):
            export(
                problem.model, x, tmp_path / "w.onnx", quantize="int8", calibrate=problem, keep_float=wrong
            )
    assert not (tmp_path / "w.onnx").exists()


def test_without_a_metric_that_a_file_has_it_is_judged_by_its_errors() -> None:
    problem = two_heads()
    tasks = {name: replace(task, metrics={}) for name, task in problem.tasks.items()}
    found = judged(replace(problem, tasks=tasks), problem.train[0][0][:1], {}, {})  # pyright: ignore
    assert (found.lost, found.broken) == ({}, ())
    assert set(found.errors) == {"colour", "shade"}
