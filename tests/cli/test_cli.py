"""The command line on the built-in data, in process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from secateur.cli import main
from tiny_runs import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense and a pruned run side by side."""
    folder = tmp_path_factory.mktemp("runs")
    assert train("dense", folder / "dense") == 0
    assert train("adapmtl", folder / "pruned", "--method.density", "0.2", "--validate_every", "6") == 0
    return folder


def test_a_run_leaves_everything(runs: Path) -> None:
    names = {
        "config.yaml",
        "metrics.jsonl",
        "checkpoint.pt",
        "checkpoint.before.pt",
        "model.safetensors",
        "report.json",
        "report.html",
        "samples.npz",
    }
    assert {p.name for p in (runs / "pruned").iterdir()} == names
    found = json.loads((runs / "pruned" / "report.json").read_text())
    assert found["density"]["overall"] == pytest.approx(0.2, abs=0.0005)
    assert set(found["density"]["components"]) == {"backbone", "seg", "normal", "depth"}
    assert {"miou", "pixel_accuracy"} <= set(found["tasks"]["seg"])
    assert found["params"]["nonzero"] < 0.21 * found["params"]["prunable"]
    assert 0 < found["macs"]["sparse"] < found["macs"]["dense"]
    assert found["seed"] == 0
    assert found["command"].startswith("secateur train adapmtl --model.width 0.05")
    assert found["delta_t"]["against"].endswith("dense")
    assert found["delta_t"].keys() >= {"mean", "sum"}
    rows = [json.loads(line) for line in (runs / "pruned" / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if "loss" in r] == list(range(1, 13))
    assert [r["step"] for r in rows if "val" in r] == [6, 12]
    with np.load(runs / "pruned" / "samples.npz") as pictures:
        assert pictures["seg/truth/0"].shape == pictures["input/0"].shape == (24, 32, 3)


def test_in_a_pipe_it_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert train("dense", tmp_path / "loud", steps=4) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert train("dense", tmp_path / "quiet", "--quiet", steps=4) == 0
    assert "step " not in capsys.readouterr().err


def test_dense_is_its_own_reference(runs: Path) -> None:
    found = json.loads((runs / "dense" / "report.json").read_text())
    assert found["dense"]
    assert found["delta_t"]["mean"] in (0.0, None)


def test_a_finished_run_returns_at_once(runs: Path, capsys: pytest.CaptureFixture) -> None:
    before = {p: p.stat().st_mtime_ns for p in (runs / "pruned").iterdir() if p.name != "report.html"}
    assert train("adapmtl", runs / "pruned", "--method.density", "0.2", "--validate_every", "6") == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert "model.safetensors" in capsys.readouterr().out


def test_a_folder_of_another_run_is_refused(runs: Path, capsys: pytest.CaptureFixture) -> None:
    assert train("adapmtl", runs / "pruned", "--method.density", "0.3", "--validate_every", "6") == 1
    assert "method.density is 0.2 there, 0.3 asked" in capsys.readouterr().err
    assert main(["train", "dense", "--out", str(runs)]) == 1
    assert "is not a run folder" in capsys.readouterr().err


def test_evaluate_and_report(runs: Path, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert main(["evaluate", str(runs / "pruned")]) == 0
    shown = capsys.readouterr().out
    found = json.loads((runs / "pruned" / "report.json").read_text())
    assert f"{found['tasks']['depth']['abs']:.4f}" in shown
    page = tmp_path / "page.html"
    assert main(["report", str(runs / "dense"), str(runs / "pruned"), "--out", str(page)]) == 0
    assert "adapmtl keeps" in page.read_text()
    assert main(["report", str(tmp_path)]) == 1


def test_options_that_every_method_shares(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "all"
    options = [
        "--teacher",
        str(runs / "dense"),
        "--distill",
        "0.5",
        "--recalibrate",
        "2",
        "--aggregator",
        "Sum",
    ]
    floors = ["--floors", "{depth: 0.0, seg: 0.5}", "--tries", "2", "--against", str(runs / "dense")]
    assert train("magnitude", out, "--method.density", "0.05", *options, *floors, steps=5) == 0
    found = json.loads((out / "report.json").read_text())
    assert found["floors"]["asked"] == {"depth": 0.0, "seg": 0.5}
    attempts = found["floors"]["attempts"]
    assert attempts[0]["density"] == 0.05
    assert set(attempts[0]["lost"]) == {"seg", "normal", "depth"}
    assert all(set(a["stopped_by"]) <= {"depth", "seg"} for a in attempts)
    capsys.readouterr()
    for option, said in (
        (["--teacher", str(tmp_path / "none")], "teacher: no finished run"),
        (["--floors", "{smell: 0.1}"], "floors names ['smell']"),
        (["--aggregator", "Magic"], "has no such class"),
    ):
        assert train("magnitude", tmp_path / "bad", *option) == 1
        assert said in " ".join(capsys.readouterr().err.split())


def test_overlap_is_printed_and_shown_in_the_report(runs: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["overlap", str(runs / "dense"), "--density", "0.2", "--batches", "1"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "independent choices would overlap by 11.1" in said
    found = json.loads((runs / "dense" / "overlap.json").read_text())
    assert found["density"] == 0.2
    assert found["total"]["overlap"].keys() == {"seg+normal", "seg+depth", "normal+depth"}
    assert main(["report", str(runs / "dense")]) == 0
    page = (runs / "dense" / "report.html").read_text()
    assert "Where the tasks disagree" in page
    assert "all shared weights" in page
    (runs / "dense" / "overlap.json").unlink()
    (runs / "dense" / "overlap.json").mkdir()  # as where the folder may be read alone
    capsys.readouterr()
    with pytest.warns(UserWarning, match=r"overlap: .*overlap\.json"):
        assert main(["overlap", str(runs / "dense"), "--batches", "1"]) == 0
    said = capsys.readouterr().out
    assert "independent choices" in said
    assert "map " not in said
    (runs / "dense" / "overlap.json").rmdir()


def test_a_reference_of_other_data_is_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = ["--against", str(runs / "dense"), "--data.test_count", "9"]
    assert train("adapmtl", tmp_path / "run", *other) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "a run of other data (data.test_count is 8 there, 9 asked); differences to it would mean nothing"
        in said
    )
    assert not (tmp_path / "run").exists()
