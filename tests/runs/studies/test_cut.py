"""Looks at a network that was pruned to a budget: shares are of the network that it was before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.cli import main
from tiny_runs import LITTLE, TRUST, train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert train("dense", folder / "dense", steps=2, words=LITTLE) == 0
    words = ["--budget", "0.5 params", "--steps", "0", "--batches", "1", "--repair", "0", "--quiet"]
    assert main(["prune", str(folder / "dense"), *words, "--out", str(folder / "half"), *TRUST]) == 0
    return folder


def look(name: str, runs: Path, out: Path) -> dict:
    argv = ["study", name, str(runs / "dense"), str(runs / "half"), "--out", str(out), *TRUST]
    assert main(argv) == 0
    return json.loads((out / f"{name}.json").read_text())


def test_the_kept_share_is_of_the_weights_before(runs: Path, tmp_path: Path) -> None:
    found = look("allocation", runs, tmp_path / "out")
    dense, half = found.values()
    assert dense["overall"] == pytest.approx(1, abs=1e-3)
    assert half["overall"] == pytest.approx(0.5, abs=0.05)
    assert 0 < half["layers"]["body.2.weight"] < 0.6
    assert half["components"]["backbone"] < 0.6


def test_the_channels_are_those_before(runs: Path, tmp_path: Path) -> None:
    _, half = look("profile", runs, tmp_path / "out").values()
    assert half["body.2.weight"]["channels"] == 16
    assert half["body.2.weight"]["kept"] < 16
