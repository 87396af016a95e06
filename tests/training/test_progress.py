"""What `fit` says while it trains: lines in a pipe, a bar that fits a terminal, nothing if asked."""

from __future__ import annotations

import random
import re
import sys
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from problems import two_heads
from secateur import SoftThreshold, fit
from secateur.training import history
from secateur.training.history import Progress, bar, in_notebook, said
from secateur.training.ledger import Ledger


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_a_line_every_twentieth(capsys: pytest.CaptureFixture) -> None:
    fit(two_heads(), SoftThreshold(density=0.5), steps=40)
    lines = capsys.readouterr().err.splitlines()
    assert [int(re.match(r"step (\d+)/40", line)[1]) for line in lines] == list(range(2, 41, 2))
    for line in lines:
        assert re.search(
            r"\(\d+%\)  density \d+\.\d%  colour \d\S*  shade \d\S*  \d:\d\d:\d\d left$", line
        ), line
    assert "density 50.0%" in lines[-1]
    assert lines[-1].endswith("0:00:00 left")


def test_rare_rows_do_not_silence_it(capsys: pytest.CaptureFixture) -> None:
    history = fit(two_heads(), steps=40, log_every=40)
    assert len(history.rows) == 1
    assert len(capsys.readouterr().err.splitlines()) == 20


def test_short_trainings_say_every_step_and_resumed_ones_where_they_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "checkpoint.pt"

    def stop(rows: list) -> None:
        if rows[-1]["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(two_heads(), steps=6, checkpoint=path, on_log=stop)
    capsys.readouterr()
    fit(two_heads(), steps=6, checkpoint=path)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "goes on after step 2/6"
    assert [line.split()[1] for line in lines[1:]] == ["3/6", "4/6", "5/6", "6/6"]


def test_it_is_silent_if_asked(capsys: pytest.CaptureFixture) -> None:
    fit(two_heads(), steps=4, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("tasks", [1, 3, 40])
def test_the_bar_fits_80_columns_and_keeps_total_and_time(
    tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    losses = {f"task number {i}": 0.123456 for i in range(tasks)}
    with Progress(20000) as shown:
        shown.begin(0)
        for step in range(1, 20001):
            shown(step, lambda: (losses, 0.1234), step % 1000 == 0)
    written = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    frames = [frame.strip() for frame in re.split(r"[\r\n]", written) if "20000" in frame]
    assert all(len(frame) <= 80 for frame in frames)
    assert all(re.search(r"\d+/20000 .*(\d:\d\d:\d\d|\?) left", frame) for frame in frames)
    assert "density 12.3%" in frames[-1]


def test_the_bar_is_taken_away() -> None:
    assert bar(3).live.transient
    assert said({"seg": 1.0}, 0.5) == "density 50.0%  seg 1"


def test_a_bar_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training is seeded by then, and rich draws when it is imported."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    drawn: list[float] = []

    def first(total: int) -> Any:
        drawn.append(random.random())
        return bar(total)

    monkeypatch.setattr(history, "bar", first)
    before = random.getstate()
    with Progress(3):
        assert drawn
    assert random.getstate() == before


def test_means_outlast_the_row() -> None:
    import torch

    ledger = Ledger()
    ledger.add({"a": torch.tensor(2.0)}, {"a": 1.0})
    assert ledger.means() == ledger.row()["loss"] == ledger.means() == {"a": 2.0}


@pytest.mark.parametrize(
    ("kernel", "widgets", "bar"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_notebook_gets_a_bar_where_it_can_draw_one(
    kernel: bool, widgets: bool, bar: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kernel of Jupyter looks to rich; without widgets, or in another shell, there are lines as in a pipe."""
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setattr("builtins.get_ipython", lambda: shell, raising=False)
    if kernel:
        monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    else:
        monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr("secateur.training.history.find_spec", lambda name: name if widgets else None)
    assert in_notebook() is bar
