"""SIGTERM ends a command as Ctrl-C does: checkpoint kept, how to go on said, children gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from processes.forked import Forked
from secateur.cli import main
from tiny_runs import TINY, train

GOES_ON = "stopped; the same command goes on from the last checkpoint"


def _terminated(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)


def _answered_with_an_error(*_: object) -> None:
    try:
        _terminated()
    except KeyboardInterrupt as stopped:
        raise RuntimeError("a worker was killed by signal: Terminated") from stopped


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("verb", "work", "code", "said"),
    [
        ("train", _terminated, 143, GOES_ON),
        ("compare", _answered_with_an_error, 143, GOES_ON),
        ("evaluate", _terminated, 143, "stopped\n"),
        ("train", _interrupted, 130, GOES_ON),
    ],
)
def test_it_says_how_to_go_on(
    verb: str, work, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(import_module(f"secateur.cli.{verb}"), verb, work)
    assert main([verb, "x"]) == code
    assert said in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def children(process: int) -> set[int]:
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        if parent == process:
            found.add(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.forks
@pytest.mark.parametrize(
    ("start", "group"),
    [pytest.param(subprocess.Popen, False, marks=pytest.mark.slow), (Forked, True), (Forked, False)],
    ids=["the process, begun anew", "its group", "the process"],
)
def test_a_terminated_run_keeps_its_checkpoint_and_no_child(
    start: Callable[..., Any], group: bool, tmp_path: Path
) -> None:
    """A process begun anew, and one that is quick to begin."""
    out, log = tmp_path / "run", tmp_path / "said.txt"
    options = [*TINY, "--steps", "200", "--workers", "1", "--out", str(out)]
    with log.open("w") as file:
        process = start(
            [sys.executable, "-m", "secateur", "train", "dense", *options],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while process.poll() is None and not (out / "checkpoint.pt").exists():
        time.sleep(0.05)
    own = children(process.pid)
    assert own, "a loader works"
    (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
    code, said = process.wait(), log.read_text()
    assert code == 143, said
    assert GOES_ON in said.splitlines()  # a worker of torch that was sending may complain beside it
    assert (out / "checkpoint.pt").exists()
    for _ in range(100):
        if not any(Path(f"/proc/{child}").exists() for child in own):
            break
        time.sleep(0.1)
    assert not any(Path(f"/proc/{child}").exists() for child in own)


def test_what_was_stopped_before_its_first_checkpoint_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secateur.runs import run

    with monkeypatch.context() as patched:
        patched.setattr(run, "fit", _terminated)
        assert train("dense", tmp_path / "run", steps=2) == 143
    assert not (tmp_path / "run").exists()
    assert train("dense", tmp_path / "run", steps=2) == 0
