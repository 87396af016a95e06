"""A run's figures on validation while settings are chosen, on test once they are, and the two never in one table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secateur.cli import main
from secateur.runs import evaluate_run, result, run
from tiny_runs import LITTLE, TRUST, TRUSTED, train

FEW = {"steps": 2, "words": [*LITTLE, *TRUST]}


def figures_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def words(capsys: pytest.CaptureFixture) -> str:
    return " ".join(capsys.readouterr().err.split())


def counted(monkeypatch: pytest.MonkeyPatch, module: Any) -> list[Any]:
    """The problems whose test split is evaluated, as the module asks."""
    seen: list[Any] = []
    real: Callable[..., Any] = module.figures

    def figures(config: Any, problem: Any, *rest: Any) -> Any:
        seen.append(problem)
        return real(config, problem, *rest)

    monkeypatch.setattr(module, "figures", figures)
    return seen


def test_figures_of_validation_then_of_test_without_training_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, plain = tmp_path / "a" / "run", tmp_path / "b" / "run"
    before, after = counted(monkeypatch, run), counted(monkeypatch, result)
    assert train("magnitude", chosen, "--split", "val", **FEW) == 0
    (problem,) = before
    assert problem.test is problem.val
    held = figures_of(chosen)
    assert held["split"] == "val"
    assert held["name"] == "magnitude (validation)"
    assert held["tasks"] == evaluate_run(chosen, "val", TRUSTED, "cpu")
    weights = (chosen / "model.safetensors").stat().st_mtime_ns

    assert train("magnitude", chosen, "--split", "val", **FEW) == 0
    assert (len(before), len(after)) == (1, 0)
    assert train("magnitude", chosen, **FEW) == 0
    assert (len(before), len(after)) == (1, 1)
    assert (chosen / "model.safetensors").stat().st_mtime_ns == weights
    judged = figures_of(chosen)
    assert judged["validation"] == held["tasks"]
    assert train("magnitude", plain, **FEW) == 0
    same = {"tasks", "dead", "name", "split", "density", "macs", "delta_t"}
    assert {key: judged[key] for key in same} == {key: figures_of(plain)[key] for key in same}
    assert (chosen / "samples.npz").read_bytes() == (plain / "samples.npz").read_bytes()
    assert train("magnitude", chosen, **FEW) == 0
    assert len(after) == 1, "once"


def test_figures_of_two_splits_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert train("dense", tmp_path / "dense", "--split", "val", **FEW) == 0
    assert train("magnitude", tmp_path / "run", **FEW) == 0
    assert figures_of(tmp_path / "run")["delta_t"]["against"] is None
    assert train("l1", tmp_path / "other", "--against", str(tmp_path / "dense"), **FEW) == 1
    assert "its figures are of the val split" in words(capsys)
    assert main(["report", str(tmp_path / "dense"), str(tmp_path / "run")]) == 1
    assert "has figures of the val split" in words(capsys)
    assert train("dense", tmp_path / "dense", **FEW) == 0
    assert main(["report", str(tmp_path / "dense"), str(tmp_path / "run")]) == 0


def test_a_table_of_the_test_split_takes_no_other(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = [*LITTLE, *TRUST, "--steps", "2", "--split", "val", "--out", str(tmp_path / "c")]
    assert main(["compare", "magnitude", *options]) == 1
    assert "secateur search" in words(capsys)


def test_data_without_the_split_are_refused_before_training() -> None:
    from problems import two_heads

    problem = two_heads()
    problem.__dict__["val"] = None
    with pytest.raises(ValueError, match="no validation split"):
        result.showing("val", problem, None)  # pyright: ignore[reportArgumentType]
