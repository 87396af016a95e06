"""The page of a comparison: sorts without help from elsewhere, leads to the runs, and says what they were set to."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from run_folders import Page, write_cell
from secateur.runs.study import Cell, Results, collect, with_columns
from secateur.runs.study.tables.columns import DELTA
from secateur.runs.study.tables.figures import over_options
from secateur.runs.study.tables.latex import About, short
from secateur.runs.study.tables.notes import note
from secateur.runs.study.tables.page import headline, page
from secateur.runs.study.tables.table import to_csv, to_dict
from secateur.runs.study.tables.writing import write_tables

ODD = "<b>&'\"#? é"
CONFIG = {"lr": 0.001, "seed": 0, "method": {"name": "Dense"}}
PRUNED = {"lr": 0.001, "seed": 0, "method": {"name": "<i>", "density": 0.1}}


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    made = [write_cell(tmp_path, "dense", s, 0.5, 1.0, config=CONFIG) for s in (0, 7)]
    made += [write_cell(tmp_path, ODD, s, 0.6, 1.0, 0.1, config=PRUNED) for s in (0, 7)]
    (tmp_path / made[-1].name / "report.html").write_text("", encoding="utf-8")
    return made


def test_names_are_escaped_and_links_lead_to_the_runs(cells: list[Cell], tmp_path: Path) -> None:
    shown = Page(page(collect(cells, tmp_path), "secateur compare <x>", (), tmp_path))
    assert ODD in shown.text
    assert not shown.of("b")
    assert "secateur compare <x>" in shown.text
    links = [str(a["href"]) for a in shown.of("a")]
    assert len(links) >= 4
    for link in links:
        assert re.fullmatch(r"[A-Za-z0-9%._~/+=-]+", link), "works from a file, whatever the folder is called"
        assert (tmp_path / unquote(link)).exists()
    assert sum(link.endswith("/report.html") for link in links) * 4 == len(links), (
        "a folder where there is none"
    )


def test_nothing_comes_from_elsewhere(cells: list[Cell], tmp_path: Path) -> None:
    html = page(collect(cells, tmp_path), "", (), tmp_path)
    shown = Page(html)
    assert not [
        attrs for _, attrs in shown.tags if "src" in attrs or (attrs.get("href") or "").startswith("http")
    ]
    assert not shown.of("link")
    assert "@import" not in html
    assert "fetch(" not in html


def test_each_column_can_be_sorted_by_plain_numbers(cells: list[Cell], tmp_path: Path) -> None:
    found = collect(cells, tmp_path)
    shown = Page(page(found, ""))
    heads = [head for head in shown.of("th") if "data-column" in head]
    names = [head for head in heads if head["data-column"] == "0"]
    assert len(heads) - len(names) == len(found.columns)
    assert {head["data-better"] for head in heads if head not in names} == {"higher", "lower", ""}
    values = [float(str(cell["data-value"])) for cell in shown.of("td") if cell.get("data-value")]
    assert 0.6 in values
    assert len([row for row in shown.of("tr") if "data-row" in row]) == len(names) * len(found.arms)
    assert any(attrs.get("role") == "status" for attrs in shown.of("p")), "what is sorted is said"


def test_differences_of_configuration(cells: list[Cell], tmp_path: Path) -> None:
    shown = Page(page(collect(cells, tmp_path), "")).text
    assert "2 settings are not those of its dense reference" in shown
    assert re.search(r"method\.density\s*not set\s*0\.1", shown)
    assert re.search(r"method\.name\s*Dense\s*<i>", shown)
    assert "seed" not in shown.partition("Settings")[2].partition("Command")[0]


def swept(out: Path, values: tuple[str, ...] = ("0.001", "0.003", "0.01")) -> list[Cell]:
    cells: list[Cell] = []
    for place, lr in enumerate(values):
        setting = (("lr", lr),)
        cells += [write_cell(out, "dense", s, 0.5 + 0.1 * place, 1.0, settings=setting) for s in range(3)]
        for every, gain in (("1", 1.1), ("2", 0.9 + 0.01 * place)):
            own = (*setting, ("method.every", every))
            cells += [
                write_cell(out, "prune", s, gain * (0.5 + 0.1 * place) + 0.01 * s, 1.0, 0.1, settings=own) for s in range(3)
            ]  # fmt: skip
    return sorted(cells, key=lambda cell: not cell.dense)


def test_each_value_is_held_against_the_dense_run_of_the_same(tmp_path: Path) -> None:
    found = collect(swept(tmp_path), tmp_path)
    arms = [(arm.recipe, dict(arm.settings)) for arm in found.arms]
    assert [recipe for recipe, _ in arms] == ["dense", "prune", "prune"] * 3, "rows of one reference together"
    assert [settings["lr"] for _, settings in arms] == ["0.001"] * 3 + ["0.003"] * 3 + ["0.01"] * 3
    delta = next(column for column in found.columns if column.name == "mean")
    for arm in found.arms:
        if dict(arm.settings).get("method.every") == "1":
            assert arm.values[delta][0] == pytest.approx(5.0), "of its own reference"
            assert found.rank(arm, delta) == "best", "among the runs of its own reference"
    assert short(with_columns(found, ["delta_t"]), About()).count(r"\addlinespace") == 2
    assert "Among arms of one density and reference" in note(found)
    assert {line["settings"]["lr"] for line in to_dict(found)} == {"0.001", "0.003", "0.01"}
    assert "lr=0.001; method.every=1" in to_csv(found)


def test_rows_stay_with_their_value_where_a_reference_failed(tmp_path: Path) -> None:
    cells = swept(tmp_path)
    for seed in range(3):
        shutil.rmtree(tmp_path / f"dense-lr=0.001-seg+depth-s{seed}")
    found = collect(cells, tmp_path)
    assert [dict(arm.settings)["lr"] for arm in found.arms] == ["0.001"] * 2 + ["0.003"] * 3 + ["0.01"] * 3
    miou = next(column for column in found.columns if column.name == "miou")
    assert [found.rank(arm, miou) for arm in found.arms] == ["best", "", "", "best", "", "", "best", ""]


def test_single_networks_are_those_of_the_same_value(tmp_path: Path) -> None:
    cells = swept(tmp_path, ("0.001", "0.003"))
    for lr, miou in (("0.001", 0.4), ("0.003", 0.2)):
        for task in ("seg", "depth"):
            about = {"tasks": (task,), "settings": (("lr", lr),)}
            cells += [write_cell(tmp_path, "dense", seed, miou, 1.0, **about) for seed in range(3)]
    found = collect(cells, tmp_path)
    column = next(column for column in found.columns if column.name == "to single-task")
    dense = {dict(a.settings)["lr"]: a.values[column][0] for a in found.arms if a.recipe == "dense"}
    assert dense == pytest.approx({"0.001": 12.5, "0.003": 100.0})
    assert [a.recipe for a in found.arms] == ["single-task", "dense", "prune", "prune"] * 2
    links = [str(link["href"]) for link in Page(page(found, "", (), tmp_path)).of("a")]
    assert "dense-lr%3D0.003-seg-s0/" in links


def test_a_sweep_is_drawn_over_its_option(tmp_path: Path) -> None:
    found = collect(swept(tmp_path), tmp_path)
    drawn = over_options(found)
    assert set(drawn) == {"lr", "method.every"}
    axes = drawn["lr"].figure.axes
    assert [one.get_title(loc="left") for one in axes] == ["ΔT mean ↑", "seg miou ↑", "depth abs ↓"]
    assert [len(one.lines) for one in axes] == [3, 3, 3], "two lines and zero; dense has no ΔT; three lines"
    assert "prune, every 2" in drawn["lr"].svg()
    assert [t.get_text() for t in axes[-1].get_xticklabels()] == ["0.001", "0.003", "0.01"]
    only = over_options(with_columns(found, ["depth.abs", "density"]))["lr"].figure.axes
    assert [one.get_title(loc="left") for one in only] == ["depth abs ↓"]
    pdf = drawn["lr"].pdf()
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf, "journals refuse such fonts"
    assert pdf == over_options(found)["lr"].pdf()


def test_drawings_come_and_go_with_what_is_asked(tmp_path: Path) -> None:
    cells = swept(tmp_path)
    found: Results = collect(cells, tmp_path)
    write_tables(found, found, cells, tmp_path, "")
    assert {p.name for p in tmp_path.glob("over_*")} == {
        f"over_{option}.{kind}" for option in ("lr", "method.every") for kind in ("svg", "pdf")
    }
    few = [cell for cell in cells if ("lr", "0.001") in cell.settings]
    found = collect(few, tmp_path)
    write_tables(found, found, few, tmp_path, "")
    assert {p.stem for p in tmp_path.glob("over_*")} == {"over_method.every"}, "one value is no sweep"


def test_without_matplotlib_the_tables_are_there(
    cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "secateur.runs.study.tables.figures", None)
    found = collect(cells, tmp_path)
    (tmp_path / "over_lr.svg").write_text("drawn before")
    with pytest.warns(
        UserWarning, match=r"pip install matplotlib\. Those .* stay as they were: over_lr\.svg"
    ):
        write_tables(found, found, cells, tmp_path, "")
    assert (tmp_path / "over_lr.svg").read_text() == "drawn before"
    assert {"table.tex", "table_long.tex", "table.html"} <= {p.name for p in tmp_path.iterdir()}


def test_means_over_other_seeds_are_not_held_against_each_other(tmp_path: Path) -> None:
    """On the seed that they share the arm of one seed is the worst."""
    poor = (0.2, 0.5, 0.5)
    made = [write_cell(tmp_path, "dense", s, poor[s], 1.0) for s in range(3)]
    made += [write_cell(tmp_path, "magnitude", s, m, 1.0, 0.1) for s, m in enumerate((0.22, 0.45, 0.45))]
    made += [write_cell(tmp_path, "poorer", s, m, 1.0, 0.1) for s, m in enumerate((0.21, 0.4, 0.4))]
    made += [write_cell(tmp_path, "random", 0, 0.21, 1.0, 0.1)]
    found = collect(made, tmp_path)
    assert [found.rank(arm, DELTA) for arm in found.arms] == ["", "best", "", ""]
    assert headline(found).startswith("magnitude is the best of 2 with all 3 seeds, with a ΔT of ")
    assert "An arm that lacks seeds that others have is never the best." in note(found)
    assert "Fewer seeds than others: random (seed 0)." in note(found)
    apart = collect([*made[:3], made[3], made[7]], tmp_path)
    assert headline(apart) == "No pruned network has all seeds that others have, so none is the best."
    assert "seeds that others have" not in note(collect(made[:6], tmp_path))


def test_a_delta_over_fewer_seeds_than_its_row_says_so(tmp_path: Path) -> None:
    made = [write_cell(tmp_path, "dense", s, 0.5, 1.0) for s in range(2)]
    made += [write_cell(tmp_path, "magnitude", s, 0.4, 1.0, 0.1) for s in range(3)]
    said = note(collect(made, tmp_path))
    assert "ΔT mean over fewer seeds, as a dense run is missing: magnitude (seeds 0, 1)." in said


def test_an_arm_is_dense_by_what_was_done(tmp_path: Path) -> None:
    """A weight that is zero by chance makes no rival of the dense run."""
    made = [
        write_cell(tmp_path, name, 0, 0.5, 1.0, density) for name, density in (("dense", None), ("good", 0.1))
    ]
    path = tmp_path / made[0].name / "report.json"
    path.write_text(path.read_text().replace('"dense": true', '"dense": false'))
    assert [arm.dense for arm in collect(made, tmp_path).arms] == [True, False]


def test_a_reference_that_began_with_zeros_is_said(tmp_path: Path) -> None:
    made = [
        write_cell(tmp_path, name, 0, 0.5, 1.0, density) for name, density in (("dense", None), ("good", 0.1))
    ]
    assert "no dense network" not in note(collect(made, tmp_path))
    path = tmp_path / made[0].name / "report.json"
    path.write_text(path.read_text().replace('{"overall": 1.0', '{"overall": 0.097'))
    assert "dense is no dense network: it keeps 9.7% of its weights." in note(collect(made, tmp_path))
