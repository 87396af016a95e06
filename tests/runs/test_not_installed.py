"""A folder of sources on the path, not installed, trains to its report all the same."""

from __future__ import annotations

import importlib.metadata
import json
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

import pytest

from secateur.cli import main
from tiny_runs import train

FOUND = importlib.metadata.distribution


@pytest.fixture(autouse=True)
def _sources(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> Distribution:
        if name in ("secateur", "lightning-fabric"):
            raise PackageNotFoundError(name)
        return FOUND(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)


def test_a_run_ends_with_a_report(tmp_path: Path) -> None:
    assert train("dense", tmp_path / "run", "--bench", "never", steps=2) == 0
    versions = json.loads((tmp_path / "run" / "report.json").read_text())["versions"]
    assert "torch" in versions
    assert "secateur" not in versions


def test_the_version_is_said_not_to_be_known(capsys: pytest.CaptureFixture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "secateur (not installed)"
