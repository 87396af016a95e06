"""What only reads leaves the random state as it was, whatever data and model draw on the way."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torchmetrics import MeanMetric

from problems import two_heads
from secateur import Problem, Task, evaluate
from secateur.data import rooms_frames
from secateur.data.doctor import examine
from secateur.runs import (
    RunFolder,
    bench_runs,
    compact_run,
    evaluate_file,
    evaluate_run,
    export_run,
    judge,
    overlap_run,
    read_problem,
)
from secateur.runs.predict import network_of, predict
from secateur.runs.report import report
from secateur.runs.studies import look
from tiny_runs import LITTLE, TRUSTED, Draws, draw, train

NOISY = [*LITTLE, "--data", "tiny_runs.noisy"]
STATE = random.getstate, lambda: [*map(str, np.random.get_state())], lambda: torch.get_rng_state().tolist()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "a"
    assert train("magnitude", folder, "--split", "val", steps=2, words=NOISY) == 0
    export_run(folder, trust=TRUSTED)
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(folder.parent / "p.png")
    return folder


def refused(call: Callable[[], Any]) -> None:
    """Of what takes seconds: up to where it would begin, when all is read."""
    with pytest.raises(ValueError, match="engines is"):
        call()


READERS: dict[str, Callable[[Path, Path], Any]] = {
    "read_problem": lambda run, out: read_problem(RunFolder(run), TRUSTED),
    "evaluate_run": lambda run, out: evaluate_run(run, "val", TRUSTED, "cpu"),
    "evaluate_file": lambda run, out: evaluate_file(run / "model.onnx", "val", trust=TRUSTED),
    "overlap_run": lambda run, out: overlap_run(run, trust=TRUSTED, device="cpu"),
    "predict": lambda run, out: predict(
        network_of(run, trust=TRUSTED, device="cpu"), [run.parent / "p.png"], out / "p"
    ),
    "compact_run": lambda run, out: compact_run(run, trust=TRUSTED),
    "export_run": lambda run, out: export_run(run, out=out / "n.onnx", trust=TRUSTED),
    "bench_runs": lambda run, out: refused(lambda: bench_runs([run], [], trust=TRUSTED)),
    "report": lambda run, out: report([run], out / "r.html"),
    "look": lambda run, out: look("profile", [run], out / "look", trust=TRUSTED),
    "judge": lambda run, out: judge(run, trust=TRUSTED, device="cpu"),
    "doctor": lambda run, out: examine({"train": Draws(rooms_frames(train_count=1)["train"])}),
}


class Bootstrapped(MeanMetric):
    higher_is_better = True

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        super().update(prediction.mean())

    def compute(self) -> torch.Tensor:
        draw()
        return super().compute()


def test_metrics_that_draw_leave_no_trace() -> None:
    made = two_heads()
    problem = Problem(made.model, {"shade": Task(F.l1_loss, {"b": Bootstrapped()})}, made.train, made.train)
    before = [state() for state in STATE]
    evaluate(replace(problem, unpack=lambda batch: (batch[0], {"shade": batch[1]["shade"]})), "val")
    assert [state() for state in STATE] == before


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS)
def test_what_only_reads_draws_nothing(reader: str, run: Path, tmp_path: Path) -> None:
    before = [state() for state in STATE]
    READERS[reader](run, tmp_path)
    assert [state() for state in STATE] == before
