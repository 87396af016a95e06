"""Trainers of other libraries, many of them in one process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture(autouse=True)
def _garbage_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of accelerate: it looks through everything that lives, tests included, before and after each training."""
    from accelerate.utils import memory

    monkeypatch.setattr(memory, "gc", SimpleNamespace(collect=lambda: None))
