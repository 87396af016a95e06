"""The page and the terminal table, on run folders made up here."""

from __future__ import annotations

import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from secateur.report import read_run, report, results_table
from secateur.report.formats import count, decimals, duration, fixed, percent, points

VOID = {"meta", "img", "br", "link", "hr", "input"}
HIGHER = {"seg": {"miou": True}, "depth": {"abs_err": False, "delta_1": True}}
DENSE = {"seg": {"miou": 0.5}, "depth": {"abs_err": 0.2, "delta_1": 0.8}}
PRUNED = {"seg": {"miou": 0.51}, "depth": {"abs_err": 0.21, "delta_1": 0.8}}


def make_run(
    folder: Path,
    *,
    dense: bool = False,
    rows: int = 30,
    pictures: int = 2,
    size: tuple[int, int] = (6, 8),
    **changes: Any,
) -> Path:
    """A run folder as `secateur train` leaves it; ``changes`` replace keys of report.json."""
    folder.mkdir(parents=True)
    tasks = changes.get("tasks", DENSE if dense else PRUNED)
    seed = changes.get("seed", 0)
    final = 1.0 if dense else 0.1
    layers = {
        "backbone.conv1.weight": final,
        "backbone.conv2.weight": final if dense else final / 2,
        "heads.seg.weight": 2 * final,
    }
    layers = {name: min(1.0, d) for name, d in layers.items()}
    components = {"backbone": final, **dict.fromkeys(tasks, final)}
    method = "Dense" if dense else "SoftThreshold"
    lines: list[str] = []
    for i in range(rows):
        done = 1 - (i + 1) / rows
        density = {
            "overall": final + (1 - final) * done,
            "components": {c: d + (1 - d) * done for c, d in components.items()},
            "layers": {n: d + (1 - d) * done for n, d in layers.items()},
        }
        row = {
            "step": 10 * (i + 1),
            "loss": {t: math.exp(-i / rows) + 0.1 * j for j, t in enumerate(tasks)},
            "weight": dict.fromkeys(tasks, 1.0),
            "density": density,
            "threshold": {} if dense else dict.fromkeys(components, 0.01 * i),
            "lr": 0.1,
        }
        lines.append(json.dumps(row))
        if i % 10 == 9:
            lines.append(json.dumps({"step": 10 * (i + 1), "val": tasks}))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(
        f"method: {method}\nseed: {seed}\nout: {folder}\ndata:\n  size: [6, 8]\n"
    )
    facts = {
        "name": "dense" if dense else "adapmtl",
        "dense": dense,
        "method": method,
        "weighting": "Equal" if dense else "Adaptive",
        "tasks": tasks,
        "higher_is_better": {t: {m: HIGHER.get(t, {}).get(m, True) for m in ms} for t, ms in tasks.items()},
        "density": {"overall": final, "components": components, "layers": layers},
        "params": {"total": 1_210_000, "prunable": 1_200_000, "nonzero": 1_210_000 if dense else 130_000},
        "macs": {
            "dense": 9.8e9,
            "sparse": 9.8e9 if dense else 1.21e9,
            "components": {c: {"dense": 2e9, "sparse": 2e9 * d} for c, d in components.items()},
            "input": [3, 6, 8],
        },
        "delta_t": None,
        "seed": seed,
        "steps": 10 * rows,
        "command": "secateur train adapmtl --data 'a & b'",
        "hardware": "2 CPU cores",
        "versions": {"torch": "2.11.0"},
        "train_seconds": 125.0,
    }
    (folder / "report.json").write_text(json.dumps(facts | changes))
    if pictures:
        draw = np.random.default_rng(7 + seed)
        arrays = {f"input/{i}": np.full((*size, 3), 40 * i, np.uint8) for i in range(pictures)}
        for task in tasks:
            for kind in ("truth", "prediction"):
                arrays |= {
                    f"{task}/{kind}/{i}": draw.integers(0, 256, (*size, 3)).astype(np.uint8)
                    for i in range(pictures)
                }
        np.savez(folder / "samples.npz", **arrays)
    return folder


class Page(HTMLParser):
    """Checks that tags balance while collecting text, attributes and ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", "".join(self.words))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for found, attrs in self.tags if found == tag]


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [make_run(tmp_path / "dense", dense=True), make_run(tmp_path / "pruned")]


def page_of(folders: list[Path], tmp_path: Path) -> Page:
    return Page(report(folders, tmp_path / "out" / "report.html").read_text(encoding="utf-8"))


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


@pytest.mark.parametrize("name", ["report.json", "metrics.jsonl", "config.yaml"])
def test_unfinished_run_says_how_to_finish(folders: list[Path], tmp_path: Path, name: str) -> None:
    (folders[1] / name).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"pruned has no {name}: train has not finished.*same `secateur train`"
    ):
        report(folders, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_missing_folder_and_missing_key_are_named(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
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
