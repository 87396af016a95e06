"""What is asked wrongly is said in the words of the command line, before the work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from run_folders import make_run
from secateur.cli import main
from tiny_runs import LITTLE, TRUST, train


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on standard error."""
    capsys.readouterr()
    try:
        code = main(words)
    except SystemExit as end:
        code = int(str(end.code))
    assert code in (1, 2)
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "dense"
    assert train("dense", out, steps=2, words=LITTLE) == 0
    return out


def test_what_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(tmp_path / "run")
    pack = said(["pack", str(folder)], capsys)
    assert f"{folder} is a folder; it holds no .onnx file; `secateur export` writes one." in pack
    (folder / "model.onnx").write_bytes(b"")
    assert f"give the file in it: {folder / 'model.onnx'}." in said(["pack", str(folder)], capsys)
    lost = said(["predict", str(tmp_path / "none"), "pics", "--out", str(tmp_path / "seen")], capsys)
    assert lost == f"error: {tmp_path / 'none'} does not exist; give a run folder, or an exported file."


def test_a_space_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna", reason="needs Optuna: pip install 'secateur[search]'")
    text = said(["search", "magnitude", "--over", "none.yaml"], capsys)
    assert (
        text
        == "error: --over none.yaml: No such file or directory; check the path, or give the space itself."
    )


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["doctor", "--data", "rooms", "--data.test_count", "0"], "--data.test_count 0; give a whole number"),
        (["study", "sensitivity", "run", "--limit", "0"], "--limit is 0; give at least 1"),
        (["study", "profile", "run", "--by", "layer"], "--by is of the study sensitivity alone"),
        (["study", "allocation", "run", "--limit", "3"], "--limit is of the study sensitivity alone"),
        (["study", "weights", "run", "--density", "0.1"], "--density is of the study sensitivity alone"),
        (["overlap", "run", "--batches", "0"], "--batches is 0; give at least 1"),
        (
            ["prune", "run", "--budget", "0.25 macs, 0.5 macs", "--out", "x"],
            "is looser than 0.25x macs before",
        ),
        (["prune", "run", "--budget", "2 MB, 3 MB", "--out", "x"], "give the loosest first"),
    ],
)
def test_an_option_is_called_as_it_is_typed(
    words: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wanted in said(words, capsys)


def test_what_a_run_keeps_is_not_written_over(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(["bench", str(run), "--json", str(run / "bench.json"), *TRUST], capsys)
    assert "is a file of the run" in text


def test_a_task_that_is_named_twice(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(["export", str(run), "--format", "pt2", "--tasks", "seg,seg", *TRUST], capsys)
    assert "--tasks seg,seg names seg twice; once is enough." in text
    assert not list(run.glob("*.pt2"))


def test_compact_says_what_to_do_with_a_run_that_may_not_be_written_to(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    text = said(["compact", str(run), *TRUST], capsys)
    assert f"{run} may not be written to; copy it to where it may, and compact the copy." in text


def test_a_run_beside_a_copy_of_itself_is_shown_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("dense", run.parent / "copy", steps=2, words=LITTLE) == 0
    assert "hold the same run" not in capsys.readouterr().out


def test_pack_offers_nothing_that_it_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["pack", "--help"])
    assert "dense" not in capsys.readouterr().out
