"""Stopped, damaged and double runs of the command line, one of them a real process killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from secateur.runs.config import parse, resolved
from secateur.runs.folder import RunFolder
from tiny_runs import TINY, train


def test_a_damaged_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "run"
    assert train("dense", out, steps=4) == 0
    (out / "report.json").unlink()
    checkpoint = out / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert train("dense", out, steps=4) == 1
    assert "checkpoint.pt is truncated or damaged" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_killed_and_resumed_equals_never_stopped(tmp_path: Path) -> None:
    """``kill -9``, the same command again, and the weights and metrics are those of a run never stopped, bit for bit.

    What is killed are processes; what is not killed runs in this one.
    """
    options = [*TINY, "--steps", "60", "--method.density", "0.2"]

    def start(out: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "secateur", "train", "adapmtl", *options, "--out", str(out)]
        return subprocess.Popen(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL
        )

    straight, killed = tmp_path / "a" / "straight", tmp_path / "b" / "killed"
    assert train("adapmtl", straight, "--method.density", "0.2", steps=60) == 0
    kills = 0
    for wanted in (1, 20, 40):
        process = start(killed)
        while process.poll() is None:
            metrics = killed / "metrics.jsonl"
            if (
                (killed / "checkpoint.pt").exists()
                and metrics.exists()
                and metrics.read_text().count("\n") >= wanted
            ):
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                break
            time.sleep(0.01)
    assert kills >= 2
    assert train("adapmtl", killed, "--method.density", "0.2", steps=60) == 0
    one, two = load_file(straight / "model.safetensors"), load_file(killed / "model.safetensors")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (straight / "metrics.jsonl").read_bytes() == (killed / "metrics.jsonl").read_bytes()
    left, right = (json.loads((p / "report.json").read_text()) for p in (straight, killed))
    assert left["tasks"] == right["tasks"]
    assert left["density"] == right["density"]


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "run"
    config = resolved(parse(["dense", *TINY, "--steps", "12"]))
    folder = RunFolder(out)
    folder.claim(config)
    with folder.held():
        assert train("dense", out) == 1
    assert "another process trains here" in capsys.readouterr().err
    assert train("dense", out) == 0
