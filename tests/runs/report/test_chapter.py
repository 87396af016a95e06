"""The chapter on what was deployed: before and after, floors, bars for layers, and what nobody measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from run_folders import Page, make_run
from runs.report.chapters import BUDGET, COLOURS, CONFIG, bench, write
from secateur.runs.report import report
from secateur.runs.report.deployed import chapter


def test_before_and_after_floors_and_layers(tmp_path: Path) -> None:
    told = chapter(write(tmp_path / "run", budget=BUDGET, bench=bench()), COLOURS, CONFIG)
    assert told is not None
    sizes = {term: cells for term, *cells in told.sizes}
    assert sizes["Parameters"] == ["1.00\u00a0k", "250", "25.0\u202f%"]
    assert sizes["Time in onnxruntime"] == ["8 ms", "2 ms", "25.0\u202f%"]
    assert sizes["File for torch"] == ["8 MB", "2 MB", "25.0\u202f%"]
    assert "Memory in torch" not in sizes, "the system did not say"
    verdicts = {task: (allowed, cell.verdict) for task, allowed, cell in told.floors}
    assert verdicts == {
        "seg": ("2.0\u202f%", "better"),
        "depth": ("no floor", ""),
        "normal": ("10.0\u202f%", "worse"),
    }
    layers = {name: texts for name, _, texts in told.layers}
    assert list(layers) == ["backbone.conv1", "backbone.attention", "heads.seg", "no layer"]
    assert layers["backbone.conv1"] == ("3", "64 → 16", "4.00\u00a0k → 1.00\u00a0k", "5 → 1")
    assert layers["backbone.attention"][1] == "16 → gone", "the parts of an attention are one layer"
    assert told.legend == (("backbone", "var(--series-7)"), ("seg", "var(--series-0)"))
    assert [drawing.top for drawing in told.drawings] == ["64", "5 ms"]
    assert told.advice == ("do this",)
    said = " ".join(told.missing)
    assert "Time by layer was not counted in torch." in said
    assert "No file was exported" in said


def test_bars_are_as_high_as_their_layers_are_wide(tmp_path: Path) -> None:
    told = chapter(write(tmp_path / "run", budget=BUDGET), COLOURS, CONFIG)
    assert told is not None
    heights = [float(value) for value in re.findall(r'height="([\d.]+)"', str(told.drawings[0].svg))]
    assert heights == [100, 25, 25, 0, 20.31, 20.31], "before and after of each layer, of the widest"
    assert "backbone.conv1: 64 before, 16 after" in told.drawings[0].svg
    assert "fill: var(--series-7)" in told.drawings[0].svg


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"exports": {}}, "No channels were taken out"),
        ({"exports": {}}, "Time was not measured"),
        ({"budget": BUDGET | {"lost": {}}}, "No floors were given"),
        ({"budget": {k: v for k, v in BUDGET.items() if k != "layers"}}, "was not written down"),
        ({"bench": bench(against="run")}, "itself the reference"),
        (
            {"budget": BUDGET, "bench": bench(against="run (dense)")},
            "not beside the network it was pruned from",
        ),
    ],
)
def test_what_was_not_measured_is_said(files: dict[str, Any], said: str, tmp_path: Path) -> None:
    told = chapter(write(tmp_path / "run", **files), COLOURS, {})
    assert told is not None
    assert said in " ".join(told.missing)


def test_nothing_is_said_of_a_run_that_was_only_trained(tmp_path: Path) -> None:
    assert chapter(write(tmp_path / "run"), COLOURS, {}) is None


@pytest.mark.parametrize("key", ["layers", "before", "lost"])
def test_a_damaged_part_is_named(key: str, tmp_path: Path) -> None:
    run = write(tmp_path / "run", budget=BUDGET | {key: [{"a": 1}]})
    with pytest.raises(ValueError, match=r"budget\.json cannot be understood"):
        chapter(run, COLOURS, CONFIG)


def test_the_page_shows_it_and_a_network_that_was_cut_keeps_a_share_of_what_it_had(tmp_path: Path) -> None:
    dense = make_run(tmp_path / "dense", dense=True)
    run = make_run(
        tmp_path / "run",
        dense=False,
        density={"overall": 1.0, "components": {}, "layers": {}},
        params={"total": 250, "prunable": 240, "nonzero": 240},
        before={"params": 1000, "macs": 5000},
    )
    write(run, budget=BUDGET, bench=bench())
    page = report([dense, run], tmp_path / "page.html").read_text(encoding="utf-8")
    text = Page(page).text
    assert "25.0\u202f% of the weights" in text
    assert "keeps 250 of 1.00\u00a0k parameters" in text
    assert "What each component keeps" not in text
    assert "What was deployed" in text
    assert "Differences from dense" in text
    assert '<th scope="row" class="name">method</th><td>Dense</td>' in page
    assert 'data-label="seg miou ↑"' in page, "a narrow page has no room for the head of the table"
    assert page.count('class="zoom"') == page.count("<img"), "every picture is enlarged where it stands"
