"""Validations that find what a test says."""

from __future__ import annotations

from importlib import import_module

import pytest

from secateur import Problem


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What each validation finds for colour's accuracy, in turn; the last from then on."""
    found: list[float] = []

    def told(problem: Problem, split: str) -> dict[str, dict[str, float]]:
        value = found.pop(0) if len(found) > 1 else found[0]
        return {"colour": {"accuracy": value}, "shade": {"error": 1.0 - value}}

    monkeypatch.setattr(import_module("secateur.training.fit"), "evaluate", told)
    return found
