"""What the command line prints is whole, on a narrow terminal and in a pipe."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

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
