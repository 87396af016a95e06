"""What more than one file of this room needs."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def _quiet_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bars, and what ``datasets`` keeps for itself goes beside the test's files."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
