"""Columns that are asked for: how they are called, what is refused, and that every form shows them in that order."""

from __future__ import annotations

from pathlib import Path

import pytest

from run_folders import write_cell
from secateur.runs.study import Column, Results, check_columns, collect, grid, terminal, with_columns
from secateur.runs.study.tables.asked import foreseen
from secateur.runs.study.tables.columns import DELTA, DENSITY, choose, in_order, key, panels
from secateur.runs.study.tables.latex import About, short
from secateur.runs.study.tables.page import page
from secateur.runs.study.tables.table import to_markdown

SMALL = [
    "--model.width=0.0625",
    "--steps=2",
    "--batch=2",
    "--data.tasks=[seg, depth]",
    "--data.train_count=4",
]
MIOU, ABS = Column("seg", "miou", "higher"), Column("depth", "abs", "lower")


@pytest.fixture
def found(tmp_path: Path) -> Results:
    cells = [write_cell(tmp_path, "dense", s, 0.5, 1.0) for s in range(2)]
    cells += [write_cell(tmp_path, "good", s, 0.6 + 0.01 * s, 0.9, 0.1) for s in range(2)]
    return collect(cells, tmp_path)


def test_every_column_is_found_by_what_it_is_called(found: Results) -> None:
    keys = [key(column) for column in found.columns]
    assert keys == [
        *("delta_t", "delta_t.sum", "delta_t.seg", "delta_t.depth", "seg.miou", "depth.abs", "density", "density.backbone"),
        *("parameters", "macs", "steps", "training_time"),
    ]  # fmt: skip
    assert [choose([k], found.columns) for k in keys] == [(column,) for column in found.columns]


@pytest.mark.parametrize(
    ("asked", "columns"),
    [
        (["depth.abs", "delta_t", "seg.miou"], ["depth.abs", "delta_t", "seg.miou"]),
        (["depth.abs,delta_t", "density"], ["depth.abs", "delta_t", "density"]),
        (["seg"], ["seg.miou"]),
        (["delta_t.each", "cost"], ["delta_t.seg", "delta_t.depth", "parameters", "macs", "steps", "training_time"]),
        (["ΔT", "Density.Overall", "cost.MACs", "training-time"], ["delta_t", "density", "macs", "training_time"]),
        (["ΔT mean", "seg miou"], ["delta_t", "seg.miou"]),
        (["density.each"], ["density.backbone"]),
    ],
)  # fmt: skip
def test_spellings_and_groups(found: Results, asked: list[str], columns: list[str]) -> None:
    assert [key(column) for column in choose(asked, found.columns)] == columns


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["seg.mio"], "no column 'seg.mio'; there are delta_t, delta_t.sum, .* Did you mean seg.miou?"),
        (["delta_t", "ΔT"], "delta_t twice"),
        (["seg", "seg.miou"], "seg.miou twice"),
        (["seg,"], "no column ''"),
    ],
)
def test_refused(found: Results, asked: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        choose(asked, found.columns)


def test_one_word_is_a_list_of_it(found: Results) -> None:
    for word in ("density,delta_t", "density delta_t", " density,  delta_t "):
        assert choose(word, found.columns) == choose(["density", "delta_t"], found.columns)
    assert with_columns(found, "density").columns == choose(["density"], found.columns)


def test_names_that_look_alike_are_told_apart() -> None:
    columns = in_order(
        [Column("a", "x y", "lower"), Column("a", "x_y", "lower"), Column("a", "x, y", "lower")]
    )
    assert [choose([f"a.{c.name}"], columns) for c in columns] == [(c,) for c in columns]


def test_all_forms_show_them_in_that_order(found: Results) -> None:
    seen = with_columns(found, ["depth.abs", "delta_t", "seg.miou", "density", "delta_t.seg"])
    assert to_markdown(seen).splitlines()[0] == (
        "| | depth abs ↓ | ΔT mean ↑ | seg miou ↑ | density overall | ΔT seg ↑ |"
    )
    heads = [str(column.header) for table in terminal(seen) for column in table.columns]
    assert heads == ["", "depth abs ↓", "ΔT mean ↑", "seg miou ↑", "density overall", "ΔT seg ↑"]
    names = r"abs $\downarrow$ & mean $\uparrow$ & miou $\uparrow$ & overall & seg $\uparrow$"
    assert names in short(seen, About())
    shown = page(seen, "")
    assert [shown.index(f'data-column="{n}"') for n in range(6)] == sorted(
        shown.index(f'data-column="{n}"') for n in range(6)
    )
    assert [group for group, _ in panels(seen.columns, 9)[0]] == ["depth", "ΔT", "seg", "density", "ΔT"]
    assert with_columns(found, []) == found


def test_what_the_runs_will_have_is_known_before_they_train(tmp_path: Path) -> None:
    cells = grid(["magnitude"], SMALL)
    known = {key(column) for column in foreseen(cells)}
    assert {"delta_t.seg", "seg.miou", "depth.rel", "density", "macs"} <= known
    check_columns(["delta_t", "seg.miou", "density.backbone"], cells, tmp_path)
    with pytest.raises(ValueError, match=r"'density.neck'; there are .*density.backbone"):
        check_columns(["density.neck"], cells, tmp_path)
    with pytest.raises(ValueError, match="to_single_task"):
        check_columns(["delta_t.to_single_task"], cells, tmp_path)
    check_columns(["delta_t.to_single_task"], grid(["magnitude"], SMALL, single=True), tmp_path)
    assert not list(tmp_path.iterdir())
    assert {DELTA, DENSITY} <= {*foreseen(cells)}
