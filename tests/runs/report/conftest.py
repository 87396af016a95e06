"""A dense and a pruned run."""

from __future__ import annotations

from pathlib import Path

import pytest

from run_folders import make_run


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [make_run(tmp_path / "dense", dense=True), make_run(tmp_path / "pruned")]
