"""The command, on built-in data: runs, stops, goes on, and says which run failed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from processes.forked import FORKS, Forked
from run_folders import write_cell
from secateur.cli import main
from secateur.runs.study import collect, running
from secateur.runs.study.tables.writing import write_tables

pytestmark = pytest.mark.forks
SMALL = [
    "--model.width", "0.0625", "--steps", "3", "--batch", "2", "--size", "16x16", "--device", "cpu",
    "--data.train_count", "4", "--data.val_count", "2", "--data.test_count", "2", "--data.tasks=[depth, edge]",
]  # fmt: skip


def compare(*words: str) -> int:
    """Its runs are forks: that each is a process begun anew is tested where they end with the comparison."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(running, "subprocess", FORKS)
        return main(["compare", *words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "out"
    assert compare("magnitude", "--density", "0.5", "--jobs", "2", "--out", str(out), *SMALL) == 0
    return out


def test_one_table_in_every_form(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {p.name for p in folder.iterdir()} == {
        "results.json", "table.txt", "table.md", "table.csv", "table.tex", "table_long.tex", "table.html", "logs",
        "dense-depth+edge-s0", "magnitude-d0.5-depth+edge-s0",
    }  # fmt: skip
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert record["command"].startswith("secateur compare magnitude --density 0.5")
    assert [a["recipe"] for a in record["arms"]] == ["dense", "magnitude"]
    assert record["versions"].keys() >= {"python", "torch", "secateur"}
    assert record["hardware"]


def test_finished_runs_are_not_trained_again_and_new_ones_join(folder: Path) -> None:
    weights = folder / "dense-depth+edge-s0" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert compare("magnitude", "--density", "0.5", "0.25", "--out", str(folder), *SMALL) == 0
    assert weights.stat().st_mtime_ns == before
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert [(a["recipe"], a["density"]) for a in record["arms"]] == [
        ("dense", None),
        ("magnitude", 0.5),
        ("magnitude", 0.25),
    ]


def test_the_curve_is_a_file_where_there_are_several_densities(tmp_path: Path) -> None:
    cells = [
        write_cell(tmp_path, "dense", 0, 0.5, 1.0),
        *(write_cell(tmp_path, "magnitude", 0, 0.4, 1.0, density) for density in (0.5, 0.25)),
    ]
    found = collect(cells, tmp_path)
    write_tables(found, found, cells, tmp_path, "secateur compare")
    assert "magnitude" in (tmp_path / "curve.svg").read_text(encoding="utf-8")
    assert (tmp_path / "curve.pdf").read_bytes().startswith(b"%PDF")
    found = collect(cells[:2], tmp_path)
    write_tables(found, found, cells[:2], tmp_path, "secateur compare")
    assert not list(tmp_path.glob("curve.*")), "one density is no curve, and an old one is not left behind"


def test_a_failed_run_is_named_and_the_others_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("method: {name: GradualMagnitude, distribution: {nowhere: 0.5}}\n", encoding="utf-8")
    out = tmp_path / "out"
    assert compare(str(bad), "--density", "0.5", "--out", str(out), *SMALL) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "1 of 2 runs failed (bad-d0.5-depth+edge-s0: error: distribution names ['nowhere']" in said
    assert "logs" in said
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["arms"][0]["recipe"] == "dense"


def test_another_configuration_is_refused_before_anything_trains(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = [*SMALL[:3], "4", *SMALL[4:]]
    assert main(["compare", "magnitude", "--density", "0.5", "--out", str(folder), *other]) == 1
    assert "holds a run of another configuration: steps is 3 there, 4 asked" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_sweep_joins_what_is_there_and_columns_train_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["magnitude", "--density", "0.5", "--out", str(folder), *SMALL]
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/model.safetensors")}
    assert compare(*asked, "--over", "lr=1e-3,3e-3", "--columns", "edge", "delta_t") == 0
    trained = {path.parent.name for path in folder.glob("*/model.safetensors") if path not in before}
    assert trained == {"dense-lr=0.003-depth+edge-s0", "magnitude-d0.5-lr=0.003-depth+edge-s0"}
    assert (folder / "table.md").read_text(encoding="utf-8").startswith("| | edge error ↓ | ΔT mean ↑ |\n")
    assert "dense, lr 0.003" in (folder / "table.tex").read_text(encoding="utf-8")
    assert (folder / "over_lr.pdf").exists()
    assert "over_lr.pdf" in capsys.readouterr().out
    csv = (folder / "table.csv").read_text(encoding="utf-8")
    assert "depth,abs" in csv, "it keeps every column"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/model.safetensors")}
    assert main(["compare", *asked, "--over=lr=0.001,0.003", "--columns=depth.abs,density"]) == 0
    assert main(["compare", *asked]) == 0, "the plain comparison goes on as if nothing had been swept"
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("*/model.safetensors")}
    assert not list(folder.glob("over_*"))


def test_what_cannot_be_shown_or_swept_is_refused_before_anything_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, status, said in (
        (["--columns", "edge.eror"], 1, "no column 'edge.eror'; there are delta_t,"),
        (["--over", "lr=1e-3,x"], 1, "lr is 'x'; give a number"),
        (["--over", "method.evry=1,2"], 1, "Did you mean method.every?"),
        (["--seeds", "1", "1"], 2, "--seeds has 1 twice"),
        (["--on", "slurm", "--columns", "nothing"], 1, "no column 'nothing'"),
    ):
        try:
            code = main(["compare", "magnitude", *words, "--out", str(tmp_path / "out"), *SMALL])
        except SystemExit as end:
            code = int(str(end.code))
        assert code == status, words
        assert said in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out").exists()


def test_cells_of_a_sweep_that_fail_are_named_and_the_others_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["dense", "--out", str(tmp_path / "out"), *SMALL, "--over", "lr=1e-3,1e30"]
    assert compare(*asked) == 1
    assert "1 of 2 runs failed (dense-lr=1e+30-depth+edge-s0:" in " ".join(capsys.readouterr().err.split())
    assert "dense, lr 0.001" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")


def test_no_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["compare", "--out", str(tmp_path)]) == 1
    assert "name at least one" in capsys.readouterr().err


def alive(session: int) -> bool:
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_runs_end_with_the_comparison(how: signal.Signals, tmp_path: Path) -> None:
    endless = [*SMALL[:3], "100000", *SMALL[4:]]
    command = [sys.executable, "-m", "secateur", "compare", "dense", "--out", str(tmp_path / "out"), *endless]
    with (tmp_path / "said.txt").open("w") as said:
        process = Forked(command, stdout=said, env={**os.environ}, start_new_session=True)
    try:
        deadline = time.monotonic() + 240
        while not list(tmp_path.glob("out/*/metrics.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        os.kill(process.pid, how)
        process.wait()
        deadline = time.monotonic() + 10
        while alive(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(process.pid), "nobody is left of the session"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
