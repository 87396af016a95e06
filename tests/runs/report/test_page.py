"""What the page says and how, on run folders made up here."""

from __future__ import annotations

import math
import re
from pathlib import Path

from run_folders import PRUNED, Page, make_run, page_of
from secateur.runs.report import read_run, report, results_table


def test_headline_says_density_delta_and_tasks(folders: list[Path], tmp_path: Path) -> None:
    # seg +2 %; depth (-5 % + 0 %) / 2 = -2.5 %; mean -0.25 %; summed metrics (2 % - 5 %) / 2 = -1.5 %
    text = page_of(folders, tmp_path).text
    assert "10.0\u202f% of the weights, ΔT −0.2\u202f%: better than dense on seg, worse on depth." in text
    assert "130\u00a0k of 1.21\u00a0M parameters" in text
    assert "1.21\u00a0G of 9.80\u00a0G multiply-adds on an input of 6 × 8 pixels" in text


def test_differences_are_signed_and_judged_without_colour(folders: list[Path], tmp_path: Path) -> None:
    text = page_of(folders, tmp_path).text
    assert "0.5100+0.0100● better" in text
    assert "0.2100+0.0100○ worse" in text  # an error that grew
    assert "0.8000±0.0000" in text
    assert "miou ↑ (higher is better)" in text
    assert "abs_err ↓ (lower is better)" in text
    assert "−1.5\u202f%○ worse" in text


def test_reference_is_found_wherever_it_stands(folders: list[Path], tmp_path: Path) -> None:
    assert page_of(folders[::-1], tmp_path).text.count("0.5100+0.0100● better") == 1


def test_without_dense_run_says_so_and_shows_no_differences(folders: list[Path], tmp_path: Path) -> None:
    text = page_of(folders[1:], tmp_path).text
    assert "No dense run is among these folders" in text
    assert "+0.0100" not in text
    assert "10.0\u202f% of the weights." in text


def test_dense_run_alone(folders: list[Path], tmp_path: Path) -> None:
    text = page_of(folders[:1], tmp_path).text
    assert "The dense network" in text
    assert "What each component keeps" not in text


def test_page_loads_nothing_and_has_unique_ids(folders: list[Path], tmp_path: Path) -> None:
    html = report(folders, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "http://" not in html
    assert "https://" not in html
    assert "<script" not in html
    page = Page(html)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [v for _, attrs in page.tags for k, v in attrs.items() if k == "aria-labelledby"]
    targets += [
        v[1:] for _, attrs in page.tags for k, v in attrs.items() if k == "href" and v and v.startswith("#")
    ]
    targets += re.findall(r"url\(#([^)]+)\)", html)
    assert set(targets) <= set(ids)
    assert all((a["src"] or "").startswith("data:image/png;base64,") for a in page.of("img"))


def test_pictures_and_plots_have_alternative_text(folders: list[Path], tmp_path: Path) -> None:
    page = page_of(folders, tmp_path)
    alts = [attrs["alt"] for attrs in page.of("img")]
    assert "Input, test image 1" in alts
    assert "seg: prediction of adapmtl, image 2" in alts
    assert "seg: prediction of the dense network, image 1" in alts
    assert "depth: truth, image 2" in alts
    labels = [attrs.get("aria-label") or "" for attrs in page.of("svg")]
    assert len(labels) == 5 + 2  # the dense run has losses and weights only
    assert all(labels)
    assert any(label.startswith("Density of each component over 300 steps. At the end:") for label in labels)
    assert any("3 layers" in label and "range from 5.0\u202f% to 20.0\u202f%" in label for label in labels)


def test_table_headers_have_a_scope(folders: list[Path], tmp_path: Path) -> None:
    assert {attrs.get("scope") for attrs in page_of(folders, tmp_path).of("th")} == {"col", "row", "colgroup"}


def test_dense_prediction_of_other_inputs_is_left_out(tmp_path: Path) -> None:
    dense = make_run(tmp_path / "dense", dense=True, size=(5, 5))
    alts = [a["alt"] or "" for a in page_of([dense, make_run(tmp_path / "pruned")], tmp_path).of("img")]
    assert not any("dense network" in alt for alt in alts)


def test_missing_numbers_are_shown_as_such(tmp_path: Path) -> None:
    tasks = {"seg": {"miou": math.nan}, "depth": {"abs_err": 0.21, "delta_1": None}}
    folders = [
        make_run(tmp_path / "dense", dense=True),
        make_run(tmp_path / "pruned", tasks=tasks, train_seconds=None),
    ]
    text = page_of(folders, tmp_path).text
    assert "n/a" in text
    assert not re.search(r"\bnan\b", text)
    assert "0.2100+0.0100○ worse" in text


def test_seeds_of_one_setting_share_a_row(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "dense", dense=True)]
    for seed, miou in enumerate((0.51, 0.53)):
        tasks = {**PRUNED, "seg": {"miou": miou}}
        runs.append(make_run(tmp_path / f"seed{seed}", seed=seed, tasks=tasks, name=f"adapmtl-{seed}"))
    page = page_of(runs, tmp_path)
    assert "0.5200\u00a0±\u00a00.0141+0.0200● better" in page.text
    assert "2 seeds (0, 1), mean ± sd" in page.text
    assert "open" in page.of("details")[0]
    table = results_table([read_run(run) for run in runs])
    assert [str(column.header) for column in table.columns] == ["", "dense", "adapmtl (2 seeds)"]


def test_names_are_escaped(tmp_path: Path) -> None:
    tasks = {"<b>": {"a&b": 0.5}, "$x": {"'q'": 1.0}}
    names = {"tasks": tasks, "name": "<i>$run</i>"}
    html = report([make_run(tmp_path / "run", **names)], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<b>" not in html
    assert "<i>" not in html
    assert "&lt;b&gt;" in html
    assert "$x" in Page(html).text
