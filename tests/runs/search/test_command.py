"""``secateur search`` as it is typed, with trainings that are real."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

pytest.importorskip("optuna", reason="needs Optuna: pip install 'secateur[search]'")

from processes.commands import FEW
from processes.forked import FORKS
from secateur.cli import main
from secateur.runs import evaluate_run
from secateur.runs.study import grid, running
from tiny_runs import LITTLE, TRUST, TRUSTED

pytestmark = pytest.mark.forks
SMALL = [*LITTLE, *TRUST, *FEW]


def search(*words: str) -> int:
    return main(["search", *words])


def words(capsys: pytest.CaptureFixture) -> str:
    found = capsys.readouterr()
    return " ".join((found.out + found.err).split())


def test_from_the_command_to_a_recipe_that_train_and_compare_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "subprocess", FORKS)
    over = "{method.density: [0.2, 0.5], decay: [cosine, constant]}"
    asked = ["magnitude", "--over", over, "--trials", "2", *SMALL, "--out", "s"]
    asked += ["--objectives", "depth.abs,density", "--floors", "{edge: 0.9}"]
    assert search(*asked) == 0
    said = words(capsys)
    assert "2 trials, 0 failed; all figures above are of the validation split." in said
    record = json.loads((tmp_path / "s" / "search.json").read_text())
    assert record["command"] == shlex.join(["secateur", "search", *asked])
    assert record["versions"]["optuna"]
    for trial in record["trials"]:
        folder = tmp_path / "s" / trial["folder"]
        report = json.loads((folder / "report.json").read_text())
        won = trial["number"] in record["winners"]
        assert report["split"] == ("test" if won else "val")
        figures = trial["validation"]["tasks"]
        assert figures == evaluate_run(folder, "val", TRUSTED, "cpu")
        assert trial["values"] == [figures["depth"]["abs"], report["density"]["overall"]]
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["method"]["density"] == trial["settings"]["method.density"]
        assert config["decay"] == trial["settings"]["decay"]
    best = record["trials"][record["winners"][0]]
    assert record["test"][str(best["number"])]["tasks"] == evaluate_run(
        Path("s", best["folder"]), "test", TRUSTED, "cpu"
    )

    text = (tmp_path / "s" / "best.yaml").read_text()
    assert yaml.safe_load(text)["method"]["density"] == best["settings"]["method.density"]
    _, train, compare = text.splitlines()[:3]
    assert main(shlex.split(train.removeprefix("# secateur "))) == 0
    cells = grid(["dense", "s/best.yaml"], shlex.split(compare)[5:-2])
    assert compare.startswith("# secateur compare dense s/best.yaml ")
    (pruned,) = [cell for cell in cells if not cell.dense]
    assert pruned.config["method"]["density"] == best["settings"]["method.density"]
    assert pruned.config["steps"] == 2


def test_time_is_measured_against_dense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'secateur[onnx]'")
    from importlib import import_module

    trial_at: Any = import_module("secateur.runs.search.trial")
    asked: list[Any] = []

    def bench(paths: list[Path], engines: list[str], *, against: Path, **_: Any) -> Any:
        asked.append((paths, engines, against))
        measures = {
            "dense": SimpleNamespace(speedup=1.0, p50=2.0),
            "run": SimpleNamespace(speedup=4.0, p50=0.5),
        }
        return SimpleNamespace(against="dense", measures={engines[0]: measures})

    monkeypatch.setattr(running, "subprocess", FORKS)
    monkeypatch.setattr(trial_at, "bench_runs", bench)
    out = tmp_path / "s"
    over = ["--over", "{method.density: [0.3, 0.6]}", "--trials", "1"]
    assert search("less_is_more", *over, *SMALL, "--objectives", "time", "--out", str(out)) == 0
    (trial,) = json.loads((out / "search.json").read_text())["trials"]
    folder = out / trial["folder"]
    assert asked == [([folder], ["onnxruntime"], out / "dense")]
    assert trial["values"] == [0.25]
    assert (trial["validation"]["ms"], trial["validation"]["engine"]) == (0.5, "onnxruntime")
    assert (folder / "compact.safetensors").is_file(), "what is timed is what would be deployed"


def test_a_dense_run_may_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(running, "subprocess", FORKS)
    dense, out = tmp_path / "dense", tmp_path / "s"
    assert main(["train", "dense", *SMALL, "--out", str(dense)]) == 0
    asked = [
        "magnitude",
        "--over",
        "{lr: log 1e-4 1e-2}",
        "--trials",
        "1",
        *SMALL,
        "--objectives",
        "depth.abs",
    ]
    assert search(*asked, "--against", str(dense), "--out", str(out)) == 0
    assert not (out / "dense").exists()
    record = json.loads((out / "search.json").read_text())
    assert record["reference"]["validation"] == evaluate_run(dense, "val", TRUSTED, "cpu")
    assert record["test"]["0"]["delta_t"]["against"] in ("../../../dense", None)
    other = [word.replace("16x16", "24x32") for word in asked]
    assert search(*other, "--against", str(dense), "--out", str(tmp_path / "t")) == 1
    assert "a run of other data" in words(capsys)


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ([], 2, "required: --over"),
        (["--over", "{lr: [1, 2]}"], 2, "name a recipe first"),
        (["magnitud", "--over", "{lr: [1, 2]}"], 1, "Did you mean magnitude"),
        (["magnitude"], 2, "required: --over"),
        (["magnitude", "--over", "{lr: [1, 2]}", "--trails", "3"], 2, "--trails: no such option. Did you mean --trials?"),
        (["magnitude", "--over", "{lr: [1, 2]}", "--trials", "0"], 1, "--trials is 0; at least 1 is needed"),
        (["magnitude", "--over", "{lr: [1, 2]}", "--trials", "x"], 2, "--trials"),
        (["magnitude", "--over", "{lrr: [1, 2]}"], 1, "Did you mean lr?"),
        (["magnitude", "--over", "{lr: [2, 1]}"], 1, "is empty"),
        (["magnitude", "--over", "{lr: [1, 2]}", "--lr", "1"], 1, "is given (--lr) and searched over"),
        (["magnitude", "--over", "{lr: [1, 2]}", "--floors", "much"], 2, "is no task to share"),
        (["magnitude", "--over", "{lr: [1, 2]}", "--split", "val"], 1, "--split is not for a trial"),
        (["magnitude", "--over", "{lr: [1, 2]}", "--engine", "onnx"], 2, "--engine"),
        (["magnitude", "--over", "{lr: [1, 2]}", "--objectives", "speed"], 1, "no 'speed'"),
        (["magnitude", "--over", "{lr: [1, 2]}", "--against", "nowhere"], 1, "no finished run there"),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_said_in_a_line(
    asked: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        found = search(*asked, *(TINY_DATA if asked and not asked[0].startswith("-") else []))
    except SystemExit as end:
        found = end.code
    assert found == status
    assert said in words(capsys)
    assert not (tmp_path / "runs" / "search" / "trials").exists()


TINY_DATA = LITTLE[4:]


def test_without_optuna_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert search("magnitude", "--over", "{lr: [1, 2]}") == 1
    assert "pip install 'secateur[search]'" in words(capsys)
    monkeypatch.setitem(sys.modules, "optuna", SimpleNamespace(__version__="4.9.0"))
    assert search("magnitude", "--over", "{lr: [1, 2]}") == 1
    assert "finds 4.9.0" in words(capsys)
