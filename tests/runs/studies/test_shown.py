"""The table of a study, from runs written by hand: published figures beside ours, tests, and what is said of both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from run_folders import write_cell
from secateur.runs.studies import Shown, find_study, shown
from secateur.runs.studies.writing import markdown, plain, to_dict
from secateur.runs.study import Cell, collect

NYU = {"data": {"name": "nyuv2", "classes": 40}, "steps": 20000, "batch": 16, "size": None, "lr": 0.001,
       "model": {"name": "deeplab_resnet34", "width": 0.5}}  # fmt: skip


def cells(out: Path, seeds: Sequence[int]) -> list[Cell]:
    made = [write_cell(out, "dense", s, 0.5 + 0.01 * s, 1.0) for s in seeds]
    for recipe, factor in (("adapmtl", 1.1), ("snip", 0.9), ("disparse", 1.05)):
        made += [
            write_cell(out, recipe, s, (factor + 0.002 * s * len(recipe)) * (0.5 + 0.01 * s), 1.0, 0.1)
            for s in seeds
        ]
    return [replace(cell, config=NYU) for cell in made]


def made(out: Path, seeds: Sequence[int], **config: object) -> Shown:
    found = [replace(cell, config=NYU | config) for cell in cells(out, seeds)]
    return shown(find_study("table1"), collect(found, out), found)


def test_published_figures_stand_beside_ours_and_why_they_differ(tmp_path: Path) -> None:
    found = made(tmp_path, range(3))
    assert [row.name for row in found.rows] == ["dense", "snip", "disparse", "adapmtl"], (
        "as the study has them"
    )
    snip = next(row for row in found.rows if row.name == "snip")
    assert snip.cells["ΔT mean"].startswith("−4.6")
    assert snip.published["ΔT sum"] == "−11.0\u202f%"
    assert snip.published["seg miou"] == "0.2409"
    assert "ΔT sum" not in next(row for row in found.rows if row.name == "adapmtl").published, (
        "ours is a variant"
    )
    said = " ".join(found.notes)
    assert "model.width 0.5 (published 1.0), size the data set's own (published 321x321)." in said
    assert (
        "Published metrics of normal mean something else, so they stand beside with --data.normals raw_uint8"
        in said
    )
    text = markdown(found)
    assert text.splitlines()[0].count("| published |") >= 3
    assert "0.2409" in plain(found)


def test_metrics_that_mean_something_else_are_not_set_beside(tmp_path: Path) -> None:
    found = made(tmp_path, range(2), data={"name": "nyuv2", "classes": 13})
    assert not any("seg miou" in row.published for row in found.rows)
    assert any("ΔT sum" in row.published for row in found.rows)


def test_other_data_have_nothing_beside_them(tmp_path: Path) -> None:
    found = made(tmp_path, range(2), data={"name": "rooms"})
    assert not any(row.published for row in found.rows)
    assert "Published figures are of nyuv2 and these runs of rooms" in " ".join(found.notes)
    assert "published |" not in markdown(found)


def test_rivals_are_tested_against_the_studys_own_row(tmp_path: Path) -> None:
    found = made(tmp_path, range(4))
    p = {row.name: row.p for row in found.rows}
    assert p["dense"] is None
    assert p["adapmtl"] is None
    assert p["snip"] is not None
    assert p["snip"] < 0.05
    assert "corrected by Holm" in " ".join(found.notes)
    assert "<0.001" in plain(found)


@pytest.mark.parametrize("seeds", [[0], [3]])
def test_one_seed_has_no_p_value_and_says_so(tmp_path: Path, seeds: list[int]) -> None:
    found = made(tmp_path, seeds)
    assert all(row.p is None for row in found.rows)
    assert any(note.startswith("One seed, so no test and no p value") for note in found.notes)
    assert "--seeds 6" in plain(found)
    assert all(row["p"] is None for row in to_dict(found, "secateur study")["rows"])


def test_a_notebook_gets_the_same_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(tmp_path, [0])
    written = plain(found)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert plain(found) == written


def test_two_seeds_have_one_and_are_called_few(tmp_path: Path) -> None:
    found = made(tmp_path, [0, 1])
    assert any(row.p is not None for row in found.rows)
    assert "Two seeds: hardly any difference shows in a test of two." in found.notes


def test_the_record_has_every_seed_and_the_published_figure(tmp_path: Path) -> None:
    record = json.loads(
        json.dumps(to_dict(made(tmp_path, range(3)), "secateur study table1"), allow_nan=False)
    )
    snip = next(row for row in record["rows"] if row["row"] == "snip")
    assert snip["figures"]["ΔT sum"]["published"] == -11.0
    assert set(snip["figures"]["ΔT mean"]["seeds"]) == {"0", "1", "2"}
    assert record["command"] == "secateur study table1"


def test_a_second_dense_recipe_has_its_figures(tmp_path: Path) -> None:
    found = [
        write_cell(tmp_path, "dense", 0, 0.5, 1.0),
        write_cell(tmp_path, "dense_equal_weights", 0, 0.55, 1.0),
    ]
    found = [replace(cell, config=NYU) for cell in found]
    table = shown(find_study("weightings"), collect(found, tmp_path), found)
    assert [row.cells["ΔT mean"] for row in table.rows] == ["reference", "+5.0\u202f%"]


def test_what_makes_a_row_doubtful_stands_below_the_table(tmp_path: Path) -> None:
    """Dead networks, a reference without ΔT and runs that are missing, as `compare` says them."""
    found = cells(tmp_path, range(2))
    (tmp_path / found[-1].name / "report.json").unlink()
    for cell in (found[0], found[2]):  # dense and adapmtl of seed 0
        file = tmp_path / cell.name / "report.json"
        report = json.loads(file.read_text())
        report["dead"] = ["seg"]
        report["tasks"]["seg"] = dict.fromkeys(report["tasks"]["seg"], 0.0)
        file.write_text(json.dumps(report))
    said = " ".join(shown(find_study("table1"), collect(found, tmp_path), found).notes)
    assert f"Not finished, and in no figure: {found[-1].name}." in said
    assert "Dead: dense; adapmtl, whose predictions of seg are the same whatever the input (seed 0)." in said
    assert "No ΔT of " in said
