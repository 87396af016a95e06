"""The studies that are packed, and what is refused before the first run trains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.runs.studies import LOOKS, cells_of, find_study, listing, only, studies
from secateur.runs.studies.plan import claim, settings_of, words_of

LITTLE = ["--model", "tiny_runs.small", "--trust", "tiny_runs", "--steps", "3"]


@pytest.mark.parametrize("name", studies())
def test_every_study_has_a_grid_on_built_in_data(name: str) -> None:
    study = find_study(name)
    cells = cells_of(study, [])
    assert cells[0].dense
    assert {cell.recipe for cell in cells} == {row.name for row in study.rows}
    assert all("root" not in cell.config["data"] for cell in cells), "which need no files"
    assert len({cell.name for cell in cells}) == len(cells)
    densities = {cell.density for cell in cells} - {None}
    assert densities == set(study.densities)


@pytest.mark.parametrize("name", studies())
def test_published_figures_are_of_rows_and_columns_that_are_shown(name: str) -> None:
    study = find_study(name)
    assert study.against in ("", *(row.name for row in study.rows))
    if study.published is None:
        return
    for row, figures in study.published.values.items():
        assert row.split()[0] in {r.name for r in study.rows}
        assert set(figures) <= set(study.columns) | {"ΔT mean"}
    assert study.published.note


def test_the_figures_of_table_1_are_in_our_units() -> None:
    """And are consistent: the printed sums, divided by the metrics of each task, give the mean that was computed from the metrics."""
    for name in ("table1", "table2"):
        published = find_study(name).published
        assert published is not None
        dense = published.values["dense"]
        for figures in published.values.values():
            assert 0 < figures["seg miou"] < 1
            assert 0 < figures["normal within_30"] < 1
            seg = sum(
                100 * (figures[f"seg {m}"] / dense[f"seg {m}"] - 1) / 2 for m in ("miou", "pixel_accuracy")
            )
            assert figures["ΔT seg"] == pytest.approx(seg, abs=0.02)
            by_task = [figures[f"ΔT {task}"] for task in ("seg", "normal", "depth")]
            assert figures["ΔT mean"] == pytest.approx(sum(by_task) / 3, abs=0.02)


def test_all_are_listed_and_a_misspelt_one_is_told_its_neighbour() -> None:
    shown = listing()
    for name in (*studies(), *LOOKS):
        assert f"\n  {name} " in shown
    with pytest.raises(ValueError, match=r"No study 'tabel1'.*Did you mean table1\?"):
        find_study("tabel1")
    with pytest.raises(ValueError, match=r"Did you mean sensitivity\?"):
        find_study("sensitivty")
    with pytest.raises(ValueError, match=r"has no row 'adpmtl'.*Did you mean adapmtl\?"):
        only(find_study("table1"), ["adpmtl"])


def test_some_rows_keep_the_reference() -> None:
    assert [row.name for row in only(find_study("table1"), ["snip"]).rows] == ["dense", "snip"]
    assert [row.name for row in only(find_study("lim_table1"), ["lambda_1e-5"]).rows] == [
        "lambda_0",
        "lambda_1e-5",
    ]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("table1", [*LITTLE, "--tasks", "[seg, edge]"], "study table1 needs the tasks seg, normal, depth; rooms as asked has seg, edge and lacks normal, depth"),
        ("table1", ["--data", "stories"], "stories as asked has caption and lacks seg, normal, depth"),
        ("window", [*LITTLE, "--data.tasks=[seg]"], "study window needs 2 tasks at least; rooms as asked has seg"),
        ("table3", [*LITTLE, "--data.tasks=[seg, nromal]"], r"study table3 needs .* --data rooms: tasks="),
        ("bottoms", ["--model", "lim_resnetd50"], "study bottoms compares networks of its own; leave --model out"),
        ("table1", ["--seed", "3"], "--seed differs from run to run"),
    ],
)  # fmt: skip
def test_refused_before_anything_trains(name: str, options: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cells_of(find_study(name), options)


def test_options_go_from_the_study_to_the_data_set_to_the_user() -> None:
    study = find_study("table1")
    rooms = cells_of(only(study, ["snip"]), ["--steps", "7"])[0].config
    assert (rooms["steps"], rooms["decay"], rooms["model"]["width"]) == (7, "staircase", 0.125)
    assert rooms["data"]["tasks"] == ["seg", "normal", "depth"]
    there = words_of(study, ["--data", "nyuv2", "--data.root", "somewhere"])
    assert "--steps=20000" in there
    assert "--model.width=0.125" not in there
    assert not [word for word in words_of(study, LITTLE) if word.startswith("--model.")]


def test_a_folder_is_one_study_with_one_set_of_options(tmp_path: Path) -> None:
    study, out = only(find_study("table1"), ["snip"]), tmp_path / "out"
    cells = cells_of(study, LITTLE)
    claim(out, "table1", settings_of(cells))
    claim(out, "table1", settings_of(cells_of(find_study("table1"), LITTLE, seeds=3, densities=[0.2])))
    before = (out / "study.claim.json").read_bytes()
    with pytest.raises(
        ValueError,
        match="holds a study with other options: batch is 16 there, 2 asked; steps is 3 there, 4 asked",
    ):
        claim(out, "table1", settings_of(cells_of(study, [*LITTLE[:-1], "4", "--batch", "2"])))
    with pytest.raises(ValueError, match="study is 'table1' there, 'tradeoff' asked"):
        claim(out, "tradeoff", settings_of(cells))
    assert (out / "study.claim.json").read_bytes() == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is no study's folder"):
        claim(tmp_path, "table1", settings_of(cells))
    for text in ("{", "3", json.dumps([])):
        (out / "study.claim.json").write_text(text)
        with pytest.raises(ValueError, match=r"study\.claim\.json"):
            claim(out, "table1", settings_of(cells))
