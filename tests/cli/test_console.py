"""What the command line prints is whole, on a narrow terminal and in a pipe."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from secateur import cli
from secateur.cli.console import WIDTH, errors, output
from secateur.deployment.bench import Bench, Facts, Measure
from secateur.deployment.bench.table import table

FACTS = Facts(params=100, macs=1000, nonzero_macs=1000, dead_channels=0, uneven=0.0)
MEASURE = Measure(9123.0, 10123.0, 11123.0, 1.123, 1.112, 1.134, 1.1, 100, 10**6, 1000, 0.0, True)
BENCH = Bench(
    against="dense",
    settings={"threads": 1},
    machine={"processor": "a processor"},
    inputs=[[1, 3, 16, 16]],
    networks={"dense": FACTS, "compacted": FACTS},
    measures={"onnxruntime": {"dense": MEASURE, "compacted": MEASURE}},
    versions={},
    advice=[],
)


def test_a_pipe_gets_whole_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert output().width == errors().width == WIDTH
    output().print(table(BENCH))
    lines = capsys.readouterr().out.splitlines()
    assert any("onnxruntime" in line and "compacted" in line and "1.12 (1.11-1.13)" in line for line in lines)


def test_a_narrow_terminal_cuts_nothing_off() -> None:
    made = StringIO()
    Console(file=made, width=60, force_terminal=True, color_system=None).print(table(BENCH))
    assert "…" not in made.getvalue()


ODD = "runs[old]x/a[/b] [red]c :smile:"


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    made = Table(ODD, title=ODD)
    made.add_row(ODD)
    for console in (output(), errors()):
        console.print(ODD, soft_wrap=True)
        console.print(made)
    found = capsys.readouterr()
    for said in (found.out, found.err):
        assert said.count(ODD) == 4, said


def test_no_verb_has_a_console_of_its_own() -> None:
    for path in Path(cli.__file__).parent.glob("*.py"):
        assert path.name == "console.py" or "Console(" not in path.read_text(), path
