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
