"""No two runs of a page or a benchmark are called the same, and no figure lies beyond the page's edge."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from run_folders import Page, make_run
from secateur.runs import deploy
from secateur.runs.report import read_run, report, results_table
from secateur.runs.report.compare import compare
from secateur.runs.report.tables import overviews


def with_settings(run: Path, **settings: object) -> Path:
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **settings}))
    return run


def test_runs_of_one_recipe_are_told_by_what_differs(tmp_path: Path) -> None:
    runs = [
        with_settings(make_run(tmp_path / str(d)), method={"name": "SoftThreshold", "density": d}, lr=0.1)
        for d in (0.1, 0.05)
    ]
    records = [read_run(run) for run in runs]
    assert [g.label for g in compare(records).groups] == ["adapmtl (density 0.1)", "adapmtl (density 0.05)"]
    assert "adapmtl (density 0.05)" in [str(column.header) for column in results_table(records).columns]
    page = Page(report(runs, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.text.count("adapmtl (density 0.1)") >= 3


def test_where_no_setting_differs_the_folder_tells(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, weighting=name) for name in ("a", "b")]
    labels = [g.label for g in compare([read_run(run) for run in runs]).groups]
    assert labels == [f"adapmtl ({tmp_path / name})" for name in ("a", "b")]


def test_one_name_stays_as_it_is(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "dense", dense=True), make_run(tmp_path / "a")]
    assert [g.label for g in compare([read_run(run) for run in runs]).groups] == ["dense", "adapmtl"]


def test_seeds_have_headings_of_their_own(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    text = Page(report(runs, tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "adapmtl, seed 0" in text
    assert "adapmtl, seed 1" in text


@pytest.mark.parametrize("count", [1, 6, 7, 20])
def test_wide_results_stand_in_parts(count: int, tmp_path: Path) -> None:
    tasks = {f"task{i}": {"a": 0.5, "b": 0.25} for i in range(count)}
    parts = overviews(compare([read_run(make_run(tmp_path / "run", tasks=tasks))]))
    assert all(len(row.cells) <= 9 for part in parts for row in part.rows)
    shown = [(task, metric) for part in parts for task, metrics in part.tasks for metric, _ in metrics]
    assert shown == [(task, metric) for task in tasks for metric in ("a", "b")], "each once, in order"
    assert [part.first for part in parts] == [True] + [False] * (len(parts) - 1)


def test_wall_time_is_not_called_the_cost_of_a_method(tmp_path: Path) -> None:
    text = Page(report([make_run(tmp_path / "run")], tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "it does not measure a method" in text
    assert "Training time" not in text


def test_networks_of_one_name_are_all_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(deploy, "_trained", lambda path, trust: (path, None))
    monkeypatch.setattr(deploy, "_smallest", lambda path, trust: (path, None))

    monkeypatch.setattr(deploy, "bench", lambda candidates, *_, **__: asked.append(list(candidates)))
    monkeypatch.setattr(deploy, "keep_bench", lambda *_: None)
    one, two, dense = Path("a/run"), Path("b/run"), Path("c/dense")
    deploy.bench_runs([one, two], ["torch"])
    deploy.bench_runs([one], ["torch"])
    deploy.bench_runs([one], ["torch"], against=dense)
    deploy.bench_runs([one], ["torch"], against=two)
    deploy.bench_runs([one, dense], ["torch"], against=one)
    assert asked == [
        ["a/run", "b/run"],
        ["run"],
        ["dense", "run"],
        ["b/run", "a/run"],
        ["run", "dense"],
    ]
