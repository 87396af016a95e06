"""A dense and a pruned run, and pages with their plots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from run_folders import make_run
from secateur.runs.report import plots


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [make_run(tmp_path / "dense", dense=True), make_run(tmp_path / "pruned")]


@pytest.fixture(autouse=True, scope="module")
def _plots() -> Iterator[None]:
    """Drawn here, and left out elsewhere."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plots, "to_svg", plots.drawn)
        yield
