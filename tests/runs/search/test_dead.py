"""A network that is dead in a task is never the best of a search, and page and figures say which are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install 'secateur[search]'")

from runs.search.searches import Made


def test_the_best_of_a_search_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch, dead=lambda config: abs(config["method"]["density"] - 0.5) < 0.2)
    found = made(tmp_path / "s")
    dead = [t.number for t in found.trials if t.dead]
    best = max(found.trials, key=lambda t: t.values)
    assert best.number in dead, "it would have won"
    assert found.winners
    assert not any(t.dead for t in found.winners)
    page = (tmp_path / "s" / "search.md").read_text()
    assert f"trial {best.number} in depth" in page
    assert "complete, dead in depth" in page
    assert "A network that is dead in a task is never the best." in page
    told = json.loads((tmp_path / "s" / "search.json").read_text())
    assert [t["number"] for t in told["trials"] if t["dead"]] == dead
    assert told["winners"] == [t.number for t in found.winners]


def test_a_search_that_was_begun_before_journals_said_it_reads_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(monkeypatch, dead=lambda config: abs(config["method"]["density"] - 0.5) < 0.2)
    before = made(tmp_path / "s")
    (journal,) = (tmp_path / "s").glob("*.log")
    text = journal.read_text()
    assert '"dead":' in text
    journal.write_text(text.replace('"dead":', '"else":'))
    again = made(tmp_path / "s")
    assert [t.dead for t in again.trials] == [t.dead for t in before.trials]
    assert [t.number for t in again.winners] == [t.number for t in before.winners]


@pytest.mark.parametrize(
    ("floors", "which"), [({}, "Every trial is"), ({"depth": 0.01}, "Every trial that breaks no floor is")]
)
def test_that_all_are_dead_is_said(
    floors: dict[str, float], which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(monkeypatch, dead=lambda config: not floors or abs(config["method"]["density"] - 0.5) < 0.21)
    found = made(tmp_path / "s", floors=floors)
    assert not found.winners
    assert not made.tested
    assert not (tmp_path / "s" / "best.yaml").exists()
    assert f"{which} dead in a task, so none is the best" in (tmp_path / "s" / "search.md").read_text()
