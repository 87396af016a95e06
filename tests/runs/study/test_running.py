"""Where the runs of a comparison go, and that a stopped one goes on in the middle of a run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from secateur.cli import main
from secateur.runs.study import Cell, running
from secateur.runs.study.running import check_folders, run


def cells(count: int) -> list[Cell]:
    return [Cell("magnitude", 0.5, ("depth",), seed, False, (), {}) for seed in range(count)]


def placed(
    monkeypatch: pytest.MonkeyPatch, out: Path, *, gpus: int, visible: str | None, jobs: int | None, count: int
) -> tuple[list[dict[str, str]], int]:  # fmt: skip
    """The environment of every run on a machine with so many GPUs, and how many ran at once at most."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    seen: list[dict[str, str]] = []
    busy: list[str | None] = []
    most, guard = 0, Lock()

    def train(name: str, out: Path, environment: dict[str, str], *_: Any) -> None:
        nonlocal most
        device = environment.get("CUDA_VISIBLE_DEVICES")
        with guard:
            seen.append(environment)
            if gpus and (jobs is None or jobs <= gpus):
                assert device not in busy, "one run a device at a time"
            busy.append(device)
            most = max(most, len(busy))
        time.sleep(0.05)
        with guard:
            busy.remove(device)

    monkeypatch.setattr(running, "_train", train)
    assert run(cells(count), out, jobs=jobs) == {}
    return seen, most


def test_each_gpu_takes_one_run_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen, most = placed(monkeypatch, tmp_path, gpus=3, visible=None, jobs=None, count=9)
    assert most == 3
    devices = [environment["CUDA_VISIBLE_DEVICES"] for environment in seen]
    assert set(devices) == {"0", "1", "2"}
    assert len(devices) == 9
    assert all(environment["PATH"] == os.environ["PATH"] for environment in seen)
    assert not any("OMP_NUM_THREADS" in environment for environment in seen)


@pytest.mark.parametrize("visible", ["4,6", "GPU-aa,GPU-bb"])
def test_only_visible_devices_are_used_by_their_own_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visible: str
) -> None:
    seen, most = placed(monkeypatch, tmp_path, gpus=2, visible=visible, jobs=None, count=6)
    assert most == 2
    assert {environment["CUDA_VISIBLE_DEVICES"] for environment in seen} == set(visible.split(","))


def test_names_of_devices_that_are_not_there_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen, most = placed(monkeypatch, tmp_path, gpus=1, visible="0,7", jobs=None, count=3)
    assert most == 1
    assert {environment["CUDA_VISIBLE_DEVICES"] for environment in seen} == {"0"}


def test_more_jobs_than_devices_share_them_evenly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen, most = placed(monkeypatch, tmp_path, gpus=2, visible=None, jobs=4, count=4)
    assert most == 4
    assert sorted(environment["CUDA_VISIBLE_DEVICES"] for environment in seen) == ["0", "0", "1", "1"]


def test_fewer_jobs_than_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen, most = placed(monkeypatch, tmp_path, gpus=4, visible=None, jobs=2, count=4)
    assert most == 2
    assert {environment["CUDA_VISIBLE_DEVICES"] for environment in seen} == {"0", "1"}


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("")
    with pytest.raises(
        ValueError, match=r"mine\.yaml is a file, and runs are folders in one; choose another --out"
    ):
        check_folders(cells(1), file)


@pytest.mark.parametrize(("jobs", "most", "threads"), [(None, 1, 8), (2, 2, 4), (3, 3, 2), (16, 6, 1)])
def test_without_gpus_jobs_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, jobs: int | None, most: int, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    seen, found = placed(monkeypatch, tmp_path, gpus=0, visible=None, jobs=jobs, count=6)
    assert found == most
    assert {environment["OMP_NUM_THREADS"] for environment in seen} == {str(threads)}
    assert not any("CUDA_VISIBLE_DEVICES" in environment for environment in seen)


def test_threads_that_the_user_sets_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert running._environment(None, 2)["OMP_NUM_THREADS"] == "5"


# --- stopped in the middle

SMALL = [
    "--model.width", "0.0625", "--steps", "60", "--batch", "2", "--size", "16x16", "--device", "cpu",
    "--data.train_count", "4", "--data.val_count", "2", "--data.test_count", "2", "--data.tasks=[depth, edge]",
]  # fmt: skip


def figures(folder: Path) -> list[Any]:
    """What the table says, but for times."""
    arms = json.loads((folder / "results.json").read_text(encoding="utf-8"))["arms"]
    for arm in arms:
        arm["figures"] = [f for f in arm["figures"] if f["name"] != "training time"]
    return arms


@pytest.mark.slow
def test_a_stopped_comparison_goes_on_in_the_middle_of_a_run(tmp_path: Path) -> None:
    """Stopped when a run has a checkpoint and no end; the same command gives the figures of one never stopped.

    The dense run is one for both.
    """
    asked = ["compare", "magnitude", "--density", "0.5", *SMALL]
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert main([*asked, "--out", str(straight)]) == 0
    name = "magnitude-d0.5-depth+edge-s0"
    shutil.copytree(straight / "dense-depth+edge-s0", broken / "dense-depth+edge-s0")
    process = subprocess.Popen(
        [sys.executable, "-m", "secateur", *asked, "--out", str(broken)],
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 240
        while not (broken / name / "checkpoint.pt").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)  # as a machine that goes down: the run dies with it
        process.wait(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert not (broken / name / "report.json").exists(), "stopped in the middle"
    at = torch.load(broken / name / "checkpoint.pt", weights_only=True)["step"]
    assert 0 < at < 60
    dense = (broken / "dense-depth+edge-s0" / "model.safetensors").stat().st_mtime_ns
    assert main([*asked, "--out", str(broken)]) == 0
    assert (broken / "dense-depth+edge-s0" / "model.safetensors").stat().st_mtime_ns == dense
    assert figures(broken) == figures(straight)
    one, two = (load_file(folder / name / "model.safetensors") for folder in (straight, broken))
    assert all(torch.equal(one[n], two[n]) for n in one)
    rows = [(folder / name / "metrics.jsonl").read_bytes() for folder in (straight, broken)]
    assert rows[0] == rows[1]
