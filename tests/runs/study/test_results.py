"""Figures, marks and formats of a comparison, from runs written by hand."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from run_folders import write_cell
from secateur.measures.seeds import differs, stat
from secateur.runs.report import MISSING
from secateur.runs.report.svg import standalone
from secateur.runs.study import Cell, Column, Results, collect
from secateur.runs.study.tables.figures import curve
from secateur.runs.study.tables.latex import About, long
from secateur.runs.study.tables.notes import note
from secateur.runs.study.tables.page import headline, page
from secateur.runs.study.tables.table import (
    marks_on,
    plain,
    terminal,
    text,
    to_csv,
    to_dict,
    to_markdown,
)

DELTA = Column("ΔT", "mean", "higher", "points")


@pytest.fixture
def found(tmp_path: Path) -> Results:
    cells = [
        *(write_cell(tmp_path, "dense", s, 0.5 + 0.1 * s, 1.0) for s in range(3)),
        *(write_cell(tmp_path, "dense", s, 0.4, 0, tasks=("seg",)) for s in range(3)),
        *(write_cell(tmp_path, "dense", s, 0, 0.8, tasks=("depth",)) for s in range(3)),
        *(write_cell(tmp_path, "good", s, 1.1 * (0.5 + 0.1 * s), 1.0 + 0.001 * s, 0.1) for s in range(3)),
        *(
            write_cell(tmp_path, "alike", s, (1.06, 1.11, 1.12)[s] * (0.5 + 0.1 * s), 1.0, 0.1)
            for s in range(3)
        ),
        *(write_cell(tmp_path, "lth", s, 0.9 * (0.5 + 0.1 * s), 1.0, 0.1) for s in range(3)),
    ]
    return collect(cells, tmp_path)


def arm(results: Results, recipe: str, density: float | None = None):
    return next(a for a in results.arms if a.recipe == recipe and density in (None, a.density))


def test_delta_is_paired_with_the_dense_run_of_the_same_seed(found: Results) -> None:
    assert list(arm(found, "lth").values[DELTA].values()) == pytest.approx([-5, -5, -5])
    assert list(arm(found, "dense").values[DELTA].values()) == [0, 0, 0]
    assert list(arm(found, "lth").values[Column("ΔT", "seg", "higher", "points")].values()) == pytest.approx(
        [-10] * 3
    )


def test_single_networks_count_as_one_arm(found: Results) -> None:
    alone = arm(found, "single-task")
    assert alone.values[Column("seg", "miou", "higher")] == {0: 0.4, 1: 0.4, 2: 0.4}
    assert stat(alone.values[Column("cost", "parameters", "", "count")].values()).mean == 2000
    to_single = arm(found, "dense").values[Column("ΔT", "to single-task", "higher", "points")]
    assert to_single[0] == pytest.approx((25 - 25) / 2)
    assert all(a.tasks == ("seg", "depth") for a in found.arms), "dense single runs are no rows of their own"


def test_marks(found: Results) -> None:
    assert found.rank(arm(found, "good"), DELTA) == "best"
    assert found.rank(arm(found, "alike"), DELTA) == "tied"
    assert found.rank(arm(found, "lth"), DELTA) == ""
    assert found.rank(arm(found, "dense"), DELTA) == ""
    lower = Column("depth", "abs", "lower")
    assert found.rank(arm(found, "good"), lower) != "best"


def test_cost_counts_rounds(found: Results) -> None:
    assert arm(found, "lth").values[Column("cost", "steps", "", "count")][0] == 20
    assert arm(found, "lth").values[Column("cost", "training time", "", "ratio")][0] == 2.0


def test_every_format_says_the_same(found: Results) -> None:
    mean = stat(arm(found, "good").values[DELTA].values())
    assert text(arm(found, "good"), DELTA, found).startswith("+5.0")
    lines = list(csv.DictReader(io.StringIO(to_csv(found))))
    line = next(x for x in lines if (x["recipe"], x["group"], x["name"]) == ("good", "ΔT", "mean"))
    assert float(line["mean"]) == mean.mean
    assert float(line["margin_95"]) == mean.margin
    assert line["mark"] == "best"
    latex = long(found, About())
    assert r"\textbf{+4.9" in latex or r"\textbf{+5.0" in latex
    assert r"\underline{" in latex
    assert latex.isascii()
    lines = latex.splitlines()
    assert max(line.count(" & ") for line in lines) <= 6, "as wide as a page"
    parts = "\n".join(lines).split(r"\midrule")
    assert len(parts) > 2
    assert all(part.count("good") <= 1 for part in parts), "in parts, one below the other"
    for column in (c for c in found.columns if c.name != "steps"):
        assert any(column.name.replace("_", r"\_") in line for line in lines), column
    assert "**+4.9" in to_markdown(found) or "**+5.0" in to_markdown(found)
    assert to_markdown(found).count("\n") == 2 + len(found.arms)
    assert "| reference |" in to_markdown(found)
    record = next(x for x in to_dict(found) if x["recipe"] == "good")
    assert next(x for x in record["figures"] if x["name"] == "mean")["mean"] == mean.mean
    assert json.dumps(to_dict(found), allow_nan=False)
    html = page(found, "secateur compare good")
    assert headline(found) in html
    assert headline(found).startswith("good is the best of 3, with a ΔT of +5.0")
    assert headline(found).endswith("; the seeds do not tell alike apart from it.")
    assert 'class="best"' in html
    assert "secateur compare good" in html
    assert "good (3 seeds)" in plain(found)


def test_text_without_styles_has_visible_marks_and_says_which(found: Results) -> None:
    """In a file or a pipe there is no bold and no underline, so they must not be what the note speaks of."""
    shown = plain(found)
    summary = shown.split("\n\n")[0].splitlines()
    rows = {line.split(" ")[0]: line.split("│")[1].strip(" │") for line in summary[2:]}
    assert text(arm(found, "good"), DELTA, found) + "*" == rows["good"]
    assert text(arm(found, "alike"), DELTA, found) + "~" == rows["alike"]
    assert text(arm(found, "lth"), DELTA, found) == rows["lth"]
    said = " ".join(shown.split())
    assert "the best is marked *; marked ~ is what a paired t-test" in said
    assert "bold" not in said
    assert "underlined" not in said
    digits = [
        line.split("│")[1].rstrip(" *~") for line in summary[2:] if line.startswith(("good", "alike", "lth"))
    ]
    assert len({len(line) for line in digits}) == 1, "marks do not move the figures"


def test_a_notebook_gets_the_same_text_and_shows_nothing_of_it(
    found: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = plain(found)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert plain(found) == written
    assert not any(capsys.readouterr())


def test_each_form_names_its_own_marks(found: Results) -> None:
    assert "the best is bold; underlined is what" in note(found)
    assert "the best is bold; in italics is what" in note(found, "italics")
    assert re.search(r"\| \*[+-]?[0-9][^*]*\* \|", to_markdown(found)), "ties are in italics"
    assert "the best is bold; underlined is what" in long(found, About())


@pytest.mark.parametrize(("colours", "marks"), [(None, "characters"), ("standard", "style")])
def test_the_console_decides_on_the_marks(found: Results, colours: Any, marks: str) -> None:
    file = io.StringIO()
    console = Console(file=file, width=240, color_system=colours, force_terminal=colours is not None)
    assert marks_on(console) == marks
    for table in terminal(found, marks_on(console)):
        console.print(table)
    assert ("*" in file.getvalue()) == (marks == "characters")
    assert ("\x1b[1m" in file.getvalue()) == ("\x1b[4m" in file.getvalue()) == (marks == "style")


def test_the_headline_says_who_trained_longer(tmp_path: Path) -> None:
    cells = [write_cell(tmp_path, "dense", 0, 0.5, 1.0), write_cell(tmp_path, "lth", 0, 0.6, 1.0, 0.1)]
    assert headline(collect(cells, tmp_path)).startswith(
        "lth (trained 2 times as long) is the only pruned network, with a ΔT of +10.0"
    )


def test_the_curve_needs_two_densities(tmp_path: Path, found: Results) -> None:
    assert curve(found) == ""
    cells = [write_cell(tmp_path / "b", "dense", s, 0.5, 1.0) for s in range(2)]
    for density in (0.5, 0.1, 0.02):
        cells += [
            write_cell(tmp_path / "b", "lth", s, 0.5 * density + 0.1 * s, 1.0, density) for s in range(2)
        ]
    drawn = curve(collect(cells, tmp_path / "b"))
    assert drawn.startswith("<svg")
    assert "98.0" in drawn
    assert "lth" in drawn
    alone = standalone(drawn)
    assert "var(--" not in alone
    assert ElementTree.fromstring(alone).tag == "{http://www.w3.org/2000/svg}svg"


def test_a_reference_that_scores_nothing_gives_no_delta(tmp_path: Path) -> None:
    cells = [write_cell(tmp_path, "dense", 0, 0.0, 1.0), write_cell(tmp_path, "lth", 0, 0.1, 1.0, 0.1)]
    results = collect(cells, tmp_path)
    assert math.isnan(arm(results, "lth").values[DELTA][0])
    assert text(arm(results, "lth"), DELTA, results) == "n/a"
    assert to_dict(results)[1]["figures"][0]["mean"] is None


def test_unfinished_runs_are_left_out(tmp_path: Path) -> None:
    cells = [write_cell(tmp_path, "dense", 0, 0.5, 1.0), Cell("lth", 0.1, ("seg", "depth"), 0, False, (), {})]
    assert [a.recipe for a in collect(cells, tmp_path).arms] == ["dense"]


def test_statistics_by_hand() -> None:
    found = stat([1.0, 2.0, 3.0])
    assert (found.mean, found.sd) == (2.0, 1.0)
    assert found.margin == pytest.approx(4.302653 / math.sqrt(3), rel=1e-5)
    assert stat([1.0]).sd is None
    assert math.isnan(stat([1.0, math.nan]).mean)
    assert differs({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.0, 1: 1.01, 2: 1.98})
    assert not differs({0: 1.0, 1: 2.0, 2: 3.0}, {0: 2.0, 1: 1.0, 2: 3.0})
    assert not differs({0: 1.0}, {0: 5.0}), "one seed tells nothing apart"
    assert differs({0: 1.0, 1: 2.0}, {0: 0.0, 1: 1.0}), "always by the same"


def test_a_band_wider_than_the_picture_is_left_out(tmp_path: Path) -> None:
    cells = [write_cell(tmp_path, "dense", s, 0.5, 1.0) for s in range(2)]
    for density in (0.1, 0.5):
        cells += [write_cell(tmp_path, "calm", s, 0.5 + 0.001 * s, 1.0, density) for s in range(2)]
        cells += [write_cell(tmp_path, "wild", s, 0.5 + 0.1 * s, 1.0, density) for s in range(2)]
    drawn = curve(collect(cells, tmp_path))
    assert "Wider than the picture, so without a band: wild." in drawn


def test_a_dead_network_is_never_the_best_and_named_with_every_table(tmp_path: Path) -> None:
    cells = [write_cell(tmp_path, "dense", s, 0.5, 1.0) for s in range(2)]
    cells += [write_cell(tmp_path, "gone", s, 0.9, 0.1, 0.1, dead=("seg",) * s) for s in range(2)]
    cells += [write_cell(tmp_path, "good", s, 0.4, 1.1, 0.1) for s in range(2)]
    cells += [write_cell(tmp_path, "poor", s, 0.3, 1.2, 0.1) for s in range(2)]
    results = collect(cells, tmp_path)
    ranks = [results.rank(arm(results, name), DELTA) for name in ("gone", "good", "poor")]
    assert ranks == ["", "best", ""]
    said = "Dead: gone, whose predictions of seg are the same whatever the input (seed 1)"
    assert said in note(results)
    assert said in " ".join(plain(results).split())
    assert said in long(results, About())
    assert [row["dead"] for row in to_dict(results) if row["recipe"] == "gone"] == [{"1": ["seg"]}]
    assert headline(results).startswith("good is the best of 2,")
    alone = collect([*cells[:2], *(c for c in cells if c.recipe == "gone")], tmp_path)
    assert headline(alone) == "Every pruned network is dead in a task."


def test_why_there_is_no_delta_is_said(tmp_path: Path) -> None:
    cells = [write_cell(tmp_path, name, 0, 0.0, 1.0, config={"lr": 0.1}) for name in ("dense", "wide")]
    results = collect([*cells, write_cell(tmp_path, "good", 0, 0.4, 1.1, 0.1)], tmp_path)
    said = [text(arm(results, name), DELTA, results) for name in ("dense", "wide", "good")]
    assert said == ["reference", MISSING, MISSING]
    assert "No ΔT of dense; wide; good: the dense run's seg miou is 0.0." in note(results)
    assert "No ΔT" not in note(collect([write_cell(tmp_path, "dense", 1, 0.4, 1.0)], tmp_path))
