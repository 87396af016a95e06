"""The benchmarks can be started, and what the docs show of them is what they wrote."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

from processes.commands import commands

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "benchmarks").glob("*.py"))])
def test_it_imports_and_names_its_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    made = importlib.import_module(name)
    assert not hasattr(made, "main") or f"python benchmarks/{name}.py" in (made.__doc__ or "")


def test_every_file_of_results_is_linked_and_every_link_is_a_file() -> None:
    said = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    linked = set(re.findall(r"results/(\w+\.\w+)", said))
    there = {path.name for path in RESULTS.iterdir()}
    assert linked <= there
    assert {name for name in there if not name.endswith(".md")} <= linked


@pytest.mark.parametrize("table", sorted(path.name for path in RESULTS.glob("*.md")))
def test_the_page_shows_the_rows_that_were_written(table: str) -> None:
    shown = set((ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines())
    rows = [r for r in (RESULTS / table).read_text(encoding="utf-8").splitlines() if r.startswith("|")]
    assert rows
    assert not [row for row in rows if row not in shown]


def test_the_page_of_kills_shows_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    kills = importlib.import_module("kills")
    verbs = json.loads((RESULTS / "kills.json").read_text(encoding="utf-8"))["verbs"]
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert page.partition(kills.BEGIN)[2].partition(kills.END)[0].strip() == kills.table(verbs).strip()
    assert set(verbs) == set(commands(ROOT))
    assert not [name for name, found in verbs.items() if found["equal"] != found["tried"]]
