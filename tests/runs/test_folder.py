"""A run folder after a kill, beside damaged ones, and with two processes at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from processes.forked import Forked
from secateur.runs.config import parse, resolved
from secateur.runs.folder import RunFolder
from secateur.storage import remove_leftovers, write_new
from tiny_runs import LITTLE, TINY, train


def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_write_left_is_no_run_and_goes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in ("config.yaml", "checkpoint.pt"):
        (out / f".{name}.{dead()}.partial").write_text("half", encoding="utf-8")
    (out / f".config.yaml.{dead()}.new").write_text("whole", encoding="utf-8")
    (out / f".model.onnx.{os.getppid()}.partial").write_text("of a process that lives", encoding="utf-8")
    assert train("dense", out, steps=2) == 0
    assert [p.name for p in out.iterdir() if p.name.startswith(".")] == [
        f".model.onnx.{os.getppid()}.partial"
    ]


def test_a_folder_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / ".config.yaml.1.partial").write_text("half", encoding="utf-8")
    (tmp_path / "thesis.tex").write_text("text", encoding="utf-8")
    assert train("dense", tmp_path, steps=2) == 1
    assert "is not a run folder" in " ".join(capsys.readouterr().err.split())


def test_the_first_configuration_stays(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert write_new(path, "one")
    first = path.stat().st_ino
    assert not write_new(path, "two")
    assert (path.read_text(), path.stat().st_ino) == ("one", first), "the lock is on this very file"
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.forks
def test_a_network_that_was_pruned_and_a_run_that_was_trained_are_told_apart_in_words(tmp_path: Path) -> None:
    config = resolved(parse(["dense"]))
    pruned = {**config, "prune": {"steps": 5, "budgets": [{"macs": "0.5x", "mb": 8.0}]}}
    trained, small = RunFolder(tmp_path / "trained"), RunFolder(tmp_path / "small")
    trained.claim(config)
    small.claim(pruned)
    with pytest.raises(
        ValueError, match="holds a run that was trained, and a network that was pruned to a bu"
    ):
        trained.claim(pruned)
    with pytest.raises(
        ValueError, match="holds a network that was pruned to a budget, and a run that was tr"
    ):
        small.claim(config)
    with pytest.raises(
        ValueError, match=r"prune\.budgets is macs '0\.5x', mb 8\.0 there, macs '0\.4x' asked"
    ):
        small.claim({**pruned, "prune": {"steps": 5, "budgets": [{"macs": "0.4x"}]}})
    with pytest.raises(ValueError, match=r"optimizer is None there, name 'SGD', momentum 0\.9 asked"):
        trained.claim({**config, "optimizer": {"name": "SGD", "momentum": 0.9}})


def test_of_two_processes_that_begin_at_once_one_trains(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "secateur",
        "train",
        "dense",
        *LITTLE,
        "--steps",
        "60",
        "--out",
        str(out),
    ]
    logs = [tmp_path / name for name in ("one", "other")]
    with logs[0].open("w") as one, logs[1].open("w") as other:
        both = [Forked(command, stdout=log, env=dict(os.environ)) for log in (one, other)]
        codes = [process.wait() for process in both]
    said = [log.read_text() for log in logs]
    assert 0 in codes, said
    for code, text in zip(codes, said, strict=True):
        assert code == 0 or "another process trains here" in " ".join(text.split())
    assert (out / "metrics.jsonl").read_text().count('"step": 60,') >= 1


def test_processes_that_load_data_do_not_keep_the_folder_of_a_killed_run(tmp_path: Path) -> None:
    """They live some seconds longer than the run that was killed; the same command at once is not refused."""
    folder = RunFolder(tmp_path / "run")
    folder.claim(resolved(parse(["dense", *TINY, "--steps", "2"])))
    fork = multiprocessing.get_context("fork")
    mine, theirs = fork.Pipe()

    def train_and_be_killed() -> None:
        with folder.held():
            worker = fork.Process(target=time.sleep, args=(60,))  # as a DataLoader starts them
            worker.start()
            theirs.send(worker.pid)
            time.sleep(60)

    run = fork.Process(target=train_and_be_killed)
    run.start()
    worker = mine.recv()
    try:
        with pytest.raises(ValueError, match="another process trains here"), folder.held():
            pass
        run.kill()
        os.kill(worker, 0)  # it lives
        with folder.held():
            pass
    finally:
        run.join()
        os.kill(worker, signal.SIGKILL)


def test_a_number_that_another_process_has_now_keeps_no_leftover(tmp_path: Path) -> None:
    """Of a process that began later, and of one that is dead and that nobody has waited for."""
    old = tmp_path / f".model.onnx.{os.getppid()}.partial"
    old.write_text("half", encoding="utf-8")
    os.utime(old, (0, 0))
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    (tmp_path / f".checkpoint.pt.{process.pid}.partial").write_text("half", encoding="utf-8")
    (tmp_path / f".model.pt2.parts.{dead()}.partial").mkdir()
    kept = tmp_path / f".samples.npz.{os.getppid()}.partial"
    kept.write_text("of a process that lives", encoding="utf-8")
    remove_leftovers(tmp_path)
    process.wait()
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize("name", ["config.yaml", "report.json"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", marks=pytest.mark.slow),
        b"{",
        b"[1]",
        pytest.param(b"\xff\xfe", marks=pytest.mark.slow),
    ],
    ids=["empty", "torn", "a list", "no text"],
)
def test_a_damaged_neighbour_is_left_out_with_a_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    other = tmp_path / "other"
    config = resolved(parse(["dense", *TINY, "--steps", "2"]))
    RunFolder(other).claim(config)
    (other / "report.json").write_text("{}", encoding="utf-8")
    (other / name).write_bytes(content)
    with pytest.warns(UserWarning, match=rf"other is left out\. .*{name}"):
        assert train("dense", tmp_path / "run", steps=2) == 0


def test_a_damaged_folder_of_ones_own_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert train("dense", tmp_path / "run", steps=2) == 0
    for name in ("report.json", "config.yaml"):
        (tmp_path / "run" / name).write_bytes(b"")
        assert train("dense", tmp_path / "run", steps=2) == 1
        assert name in "".join(capsys.readouterr().err.split())


def test_a_finished_run_without_its_weights_makes_them_again(tmp_path: Path) -> None:
    assert train("dense", tmp_path / "run", steps=4) == 0
    weights = tmp_path / "run" / "model.safetensors"
    before = load_file(weights)
    weights.unlink()
    assert train("dense", tmp_path / "run", steps=4) == 0
    after = load_file(weights)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_another_method_is_said_by_its_name_and_not_by_the_settings_that_it_lacks(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim(resolved(parse(["adapmtl", *TINY])))
    with pytest.raises(
        ValueError, match=r"method\.name is 'SoftThreshold' there, 'GradualMagnitude' asked; weighting"
    ) as said:
        folder.claim(resolved(parse(["magnitude", *TINY, "--weighting", "Equal"])))
    assert "method.allocation" not in str(said.value)
