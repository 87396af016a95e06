"""Runs that are damaged, unfinished or do not go together, and the terminal table, on run folders made up here."""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from run_folders import make_run, page_of
from secateur.runs.report import read_run, report, results_table
from secateur.runs.report.compare import compare
from secateur.runs.report.formats import count, decimals, duration, fixed, percent, points
from secateur.runs.report.tables import headline


def test_truncated_last_line_is_ignored(folders: list[Path], tmp_path: Path) -> None:
    path = folders[1] / "metrics.jsonl"
    before = read_run(folders[1]).train
    path.write_bytes(path.read_bytes() + b'{"step": 310, "loss": {"s\xc3')
    assert read_run(folders[1]).train == before
    page_of(folders, tmp_path)


@pytest.mark.parametrize("bad", ['{"step": 5, "lo', "[]", '{"loss": {}}', ""])
def test_other_bad_lines_are_named(folders: list[Path], bad: str) -> None:
    path = folders[1] / "metrics.jsonl"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:2], bad, *lines[2:]]))
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 3"):
        read_run(folders[1])


def test_step_logged_twice_counts_once(folders: list[Path]) -> None:
    path = folders[1] / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 300, "loss": {"seg": 7.0}}\n')
    train = read_run(folders[1]).train
    assert [row.step for row in train] == sorted({row.step for row in train})
    assert train[-1].loss == {"seg": 7.0}


@pytest.mark.parametrize("name", ["report.json", "metrics.jsonl"])
def test_unfinished_run_says_how_to_finish(folders: list[Path], tmp_path: Path, name: str) -> None:
    (folders[1] / name).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"pruned has no {name}: train has not finished.*same `secateur train`"
    ):
        report(folders, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_missing_folder_and_missing_key_are_named(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist and is no run folder"):
        read_run(tmp_path / "nowhere")
    facts = json.loads((folders[0] / "report.json").read_text())
    del facts["macs"]
    (folders[0] / "report.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"report\.json lacks the key 'macs'"):
        read_run(folders[0])


def test_run_without_pictures_or_log_has_a_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", pictures=0, rows=1)
    page = page_of([run], tmp_path)
    assert page.of("img") == []
    (run / "metrics.jsonl").write_text("")
    assert page_of([run], tmp_path).of("svg") == []


def test_different_tasks_are_refused_and_different_data_noticed(folders: list[Path], tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", tasks={"seg": {"miou": 0.4}})
    with pytest.raises(ValueError, match=r"different tasks.*report them separately"):
        report([*folders, other], tmp_path / "r.html")
    config = folders[1] / "config.yaml"
    config.write_text(config.read_text().replace("[6, 8]", "[3, 4]"))
    assert "The data settings of adapmtl differ from those of dense" in page_of(folders, tmp_path).text


def test_no_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="folders is empty"):
        report([], tmp_path / "r.html")


def test_failed_write_leaves_the_old_page(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "r.html"
    report(folders, out)
    before = out.read_bytes()

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        report(folders[1:], out)
    assert out.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]
    with pytest.raises(IsADirectoryError, match="is a folder"):
        report(folders, tmp_path)


def test_page_is_the_same_each_time(folders: list[Path], tmp_path: Path) -> None:
    assert report(folders, tmp_path / "a").read_bytes() == report(folders, tmp_path / "b").read_bytes()


def test_terminal_table(folders: list[Path]) -> None:
    console = Console(width=140, record=True, file=io.StringIO(), color_system=None)
    console.print(results_table([read_run(folder) for folder in folders]))
    text = console.export_text()
    for expected in (
        "miou ↑",
        "abs_err ↓",
        "reference",
        "−0.2\u202f%",
        "10.0\u202f%",
        "130\u00a0k",
        "1.21\u00a0G",
    ):
        assert expected in text


def test_formats() -> None:
    assert [count(v) for v in (0, 999, 1000, 12_345, 999_600, 1.21e9, math.nan)] == [
        "0", "999", "1.00\u00a0k", "12.3\u00a0k", "1.00\u00a0M", "1.21\u00a0G", "n/a",
    ]  # fmt: skip
    assert [percent(v) for v in (0.1, 1.0, 0.0, 0.004, math.nan)] == [
        "10.0\u202f%", "100.0\u202f%", "0.0\u202f%", "0.40\u202f%", "n/a",
    ]  # fmt: skip
    assert [points(v) for v in (0.42, -1.25, 0.01, math.inf)] == [
        "+0.4\u202f%",
        "−1.2\u202f%",
        "±0.0\u202f%",
        "n/a",
    ]
    assert [decimals([v]) for v in (0.5, 5.0, 54.0, 12_000.0, math.nan)] == [4, 3, 2, 0, 4]
    assert fixed(-0.00001, 2) == "0.00"
    assert [duration(s) for s in (0.4, 42, 125, 12_000)] == [
        "0.4\u00a0s",
        "42\u00a0s",
        "2\u00a0min 5\u00a0s",
        "3\u00a0h 20\u00a0min",
    ]


def test_a_run_that_is_there_twice_is_no_second_seed(folders: list[Path], tmp_path: Path) -> None:
    dense, pruned = folders
    (tmp_path / "link").symlink_to(pruned)
    once = compare([read_run(dense), read_run(pruned)])
    twice = compare(
        [
            read_run(f)
            for f in (dense, pruned, tmp_path / "link", dense, tmp_path / ".." / tmp_path.name / "pruned")
        ]
    )
    assert [len(group.records) for group in twice.groups] == [1, 1]
    assert [g.label for g in twice.groups] == [g.label for g in once.groups]
    copy = Path(shutil.copytree(pruned, tmp_path / "copy"))
    (copy / "config.yaml").write_text((pruned / "config.yaml").read_text())
    with pytest.raises(
        ValueError, match=r"pruned and .*copy hold the same run, of seed 0, and would count as two"
    ):
        report([dense, pruned, copy], tmp_path / "page.html")
    with (copy / "config.yaml").open("a") as file:
        file.write("device: cuda\n")
    with pytest.raises(
        ValueError, match=r"seed 0 on devices auto and cuda, and .* two; give one, or make a report of each\."
    ):
        report([dense, pruned, copy], tmp_path / "page.html")


def test_the_best_of_a_page_has_the_seeds_that_others_have(folders: list[Path], tmp_path: Path) -> None:
    dense, pruned = folders
    better = {"seg": {"miou": 0.6}, "depth": {"abs_err": 0.2, "delta_1": 0.8}}
    more = [make_run(tmp_path / "more", seed=1), make_run(tmp_path / "b", name="b", method="B", tasks=better)]
    found = compare([read_run(folder) for folder in (dense, pruned, *more)])
    assert headline(found).startswith("Alone with all 2 seeds: adapmtl, ")
    assert headline(compare([read_run(f) for f in (dense, pruned, more[1])])).startswith("Best of 2: b, ")


def test_a_colour_of_somebodys_report_is_a_colour(folders: list[Path], tmp_path: Path) -> None:
    path = folders[1] / "report.json"
    facts = json.loads(path.read_text())
    for colour in ("#4363d8", "red;background-image:url(http://x)", "#4363d8;", 3):
        legend = {"colours": [["wall", colour]], "scale": False, "note": ""}
        path.write_text(json.dumps(facts | {"legends": {"seg": legend}}))
        if colour == "#4363d8":
            assert "background: #4363d8" in report(folders, tmp_path / "page.html").read_text()
            continue
        with pytest.raises(ValueError, match=r"report\.json cannot be understood: legends has the colour"):
            read_run(folders[1])
