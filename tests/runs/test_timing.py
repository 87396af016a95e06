"""A training with many zeros ends with what they are worth in time; where that cannot be had, the training is done all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxscript", reason="needs onnx: pip install 'secateur[onnx]'")
pytest.importorskip("secateur_runtime", reason="needs secateur-runtime: pip install ./runtime")

from secateur.cli import main
from secateur.runs import time_run
from tiny_runs import TRUSTED

SMALL = [
    "--model",
    "tiny_runs.small",
    "--size",
    "32x32",
    "--steps",
    "2",
    "--batch",
    "2",
    "--data.train_count",
    "4",
    "--data.val_count",
    "2",
    "--data.test_count",
    "2",
    "--quiet",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert main(["train", "dense", *SMALL, "--out", str(folder / "dense")]) == 0
    assert main(["train", "adapmtl", *SMALL, "--density", "0.1", "--out", str(folder / "small")]) == 0
    return folder


def report(folder: Path, **changed: Any) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text()) | changed


def test_a_short_training_is_not_timed_unless_that_is_asked(runs: Path) -> None:
    assert not time_run(runs / "small", report(runs / "small"), trust=TRUSTED)
    assert not time_run(
        runs / "dense", report(runs / "dense"), "always", TRUSTED
    )  # there is nothing to compare it with
    assert not time_run(runs / "small", report(runs / "small", train_seconds=99.0), "never", TRUSTED)
    assert not (runs / "small" / "bench.json").exists()


def test_a_long_one_is_timed_once_and_kept_for_the_report(runs: Path) -> None:
    (line, *_) = time_run(runs / "small", report(runs / "small", train_seconds=99.0), trust=TRUSTED)
    assert "dense in ONNX Runtime" in line
    assert "with zeros skipped" in line
    kept = json.loads((runs / "small" / "bench.json").read_text())["bench"]
    assert list(kept["measures"]) == ["onnxruntime", "sparse"]
    assert not time_run(runs / "small", report(runs / "small"), "always", TRUSTED)


def test_what_cannot_be_timed_is_warned_of(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("no export of this")

    (runs / "small" / "bench.json").unlink(missing_ok=True)
    monkeypatch.setattr("secateur.runs.deploy.bench_runs", refuse)
    with pytest.warns(UserWarning, match="not timed: no export of this"):
        assert not time_run(runs / "small", report(runs / "small"), "always", TRUSTED)
