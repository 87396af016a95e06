"""A file that is said to be written is none that a run keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from run_folders import make_run
from secateur.cli import main


@pytest.mark.parametrize("name", ["report.json", "config.yaml", "metrics.jsonl", "model.safetensors"])
@pytest.mark.parametrize("verb", ["report", "bench"])
def test_a_page_or_figures_take_the_place_of_no_file_of_a_run(
    verb: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", dense=True)
    (run / "model.safetensors").write_text("weights")
    (tmp_path / "link").symlink_to(run / name)
    before = (run / name).read_bytes()
    option = {"report": "--out", "bench": "--json"}[verb]
    for path in (run / name, tmp_path / "link", run / ".." / "run" / name):
        assert main([verb, str(run), option, str(path)]) == 1
        assert "is a file of the run in" in capsys.readouterr().err
        assert (run / name).read_bytes() == before
    assert main(["report", str(run), "--out", str(run / "page.html")]) == 0


def test_a_packed_file_neither(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run")
    before = (run / "report.json").read_bytes()
    assert main(["pack", str(tmp_path / "net.onnx"), "--out", str(run / "report.json")]) == 1
    assert "is a file of the run in" in capsys.readouterr().err
    assert (run / "report.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["export", "run", "--out"], "model.onnx"),
        (["pack", "net.onnx", "--out"], "model.sparse.onnx"),
        (["doctor", "--data", "rooms", "--out"], "doctor.png"),
        (["report", "run", "--out"], "report.html"),
        (["bench", "run", "--json"], "figures.json"),
    ],
)
def test_a_folder_in_the_place_of_a_file_is_said_before_the_work(
    words: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, str(tmp_path)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert (
        said
        == f"error: {words[-1]} {tmp_path} is a folder; give the name of a file, such as {tmp_path / name}."
    )


def test_a_file_in_a_folder_that_may_not_be_written_to_is_said_before_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.html").write_text("before")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert main(["report", "run", "--out", str(tmp_path / "page.html")]) == 1
    assert f"{tmp_path} may not be written to; choose another --out." in capsys.readouterr().err


def test_what_is_no_file_is_said_before_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "run", "--out", "/dev/null"]) == 1
    assert "--out /dev/null is no file; choose another --out." in capsys.readouterr().err
