"""The command, on built-in data: trains, goes on, and looks at what is finished."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from processes.forked import FORKS
from secateur.cli import main
from secateur.runs.study import running
from tiny_runs import LITTLE, TRUST

pytestmark = pytest.mark.forks
SMALL = [
    *LITTLE,
    *TRUST,
    "--size",
    "16x16",
    "--steps",
    "6",
    "--data.test_count",
    "2",
    "--data.val_count",
    "2",
]
RUN = "adapmtl-d0.1-seg+normal+depth-s0"


def study(*words: str) -> int:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(running, "subprocess", FORKS)
        return main(["study", *words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "out"
    assert study("weightings", "--rows", "adapmtl", "--out", str(out), *SMALL) == 0
    return out


def test_a_study_leaves_its_table_and_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {p.name for p in folder.iterdir() if p.is_dir()} == {"dense-seg+normal+depth-s0", RUN, "logs"}
    assert {
        "study.txt",
        "study.md",
        "study.tex",
        "study.json",
        "table_long.tex",
        "results.json",
    } <= {p.name for p in folder.iterdir()}
    record = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    assert record["command"].startswith("secateur study weightings --rows adapmtl")
    before = (folder / RUN / "model.safetensors").stat().st_mtime_ns
    assert study("weightings", "--rows", "adapmtl,adapmtl_dwa", "--out", str(folder), *SMALL) == 0
    assert (folder / RUN / "model.safetensors").stat().st_mtime_ns == before
    assert "adapmtl_dwa" in (folder / "study.md").read_text(encoding="utf-8")
    assert "One seed, so no test and no p value" in " ".join(capsys.readouterr().out.split())


def test_a_study_shows_the_columns_that_are_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["weightings", "--rows", "adapmtl", "--out", str(folder), *SMALL, "--columns"]
    assert study(*words, "density,seg.miou") == 0
    head = (folder / "study.md").read_text(encoding="utf-8").splitlines()[0]
    assert head == "|  | density overall | seg miou ↑ |"
    assert r"density overall & seg miou $\uparrow$ \\" in (folder / "study.tex").read_text(encoding="utf-8")
    assert study(*words, "seg.miu") == 1
    assert "Did you mean seg.miou?" in " ".join(capsys.readouterr().err.split())


def test_other_options_are_refused_by_what_differs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    assert study("weightings", "--out", str(folder), *SMALL, "--lr", "0.5") == 1
    assert "holds a study with other options: lr is 0.001 there, 0.5 asked" in " ".join(
        capsys.readouterr().err.split()
    )
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["allocation", "weights", "profile", "sensitivity"])
def test_looks_at_finished_runs(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = (
        [str(folder / RUN)]
        if name == "sensitivity"
        else [str(folder / "dense-seg+normal+depth-s0"), str(folder / RUN)]
    )
    out = tmp_path / "seen"
    assert study(name, *runs, "--out", str(out), *TRUST) == 0
    shown = capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {
        f"{name}.json",
        f"{name}.md",
        f"{name}.svg",
        f"{name}.pdf",
        "study.claim.json",
    }
    found = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    if name == "allocation":
        assert found["adapmtl"]["overall"] == pytest.approx(0.1, abs=0.001)
        assert "heads.seg.weight" in shown
    elif name == "weights":
        assert set(found["adapmtl"]) == {"seg", "normal", "depth"}
    elif name == "profile":
        assert found["dense"]["body.2.weight"] == {"kept": 16, "channels": 16}
        assert found["adapmtl"]["body.2.weight"]["kept"] < 16
    else:
        assert set(found["delta_t"]) == {"backbone", "seg", "normal", "depth"}
        assert found["split"] == "val"
        assert study(name, *runs, "--out", str(out), *TRUST, "--by", "layer") == 1
        assert "by is 'component' there, 'layer' asked" in " ".join(capsys.readouterr().err.split())


def test_what_is_asked_wrongly_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, status, said in (
        (["tabel1"], 1, "Did you mean table1?"),
        (["table1", "runs/a"], 2, "one word too many"),
        (["table1", "--stps", "3"], 2, "Did you mean --steps?"),
        (["allocation"], 2, "name their folders"),
        (["allocation", str(tmp_path / "none")], 1, "does not exist"),
        (["sensitivity", "a", "--seeds", "3"], 2, "--seeds: no such option"),
        (["--seeds", "3"], 2, "name a study first"),
    ):
        try:
            code = main(["study", *words])
        except SystemExit as end:
            code = int(str(end.code))
        text = capsys.readouterr().err
        assert code == status, words
        assert said in text
        assert text.count("\n") == 1


def test_alone_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study"]) == 0
    shown = capsys.readouterr().out
    assert "\n  table1 " in shown
    assert "\n  sensitivity " in shown


@pytest.mark.slow
def test_engines_time_the_networks_once(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    perform = import_module("secateur.runs.studies.perform")
    made, timed = perform.bench_runs, list[Any]()

    def bench(*args: Any, **options: Any) -> Any:
        timed.append(timed[0] if timed else made(*args, **options))  # the machine is asked once
        return timed[0]

    monkeypatch.setattr(perform, "bench_runs", bench)
    words = ["weightings", "--rows", "adapmtl", "--out", str(folder), *SMALL, "--engines"]
    assert study(*words, "onnxruntme") == 1
    assert "'onnxruntme' is no engine; there are torch, onnxruntime" in " ".join(
        capsys.readouterr().err.split()
    )
    assert not (folder / "times.json").exists()
    assert study(*words, "onnxruntime") == 0
    kept = (folder / "times.json").read_text(encoding="utf-8")
    assert set(json.loads(kept)["onnxruntime"]) == {"dense-seg+normal+depth-s0", RUN}
    assert study(*words, "onnxruntime") == 0
    assert len(timed) == 1
    assert (folder / "times.json").read_text(encoding="utf-8") == kept
    for number, damaged in enumerate(("[1]", '{"onnxruntime": 3}', "{"), 2):
        (folder / "times.json").write_text(damaged, encoding="utf-8")
        assert study(*words, "onnxruntime") == 0
        assert (folder / "times.json").read_text(encoding="utf-8") == kept
        assert len(timed) == number
