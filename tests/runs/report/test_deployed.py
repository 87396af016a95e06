"""What compact, export and bench found reaches the page, and what the colours mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from run_folders import Page, make_run
from secateur.cli import main
from secateur.data import legend
from secateur.data.pictures import depth_picture, normal_picture, segmentation_picture
from secateur.deployment.bench import Bench, Facts, Measure
from secateur.runs import deploy
from secateur.runs.report import report
from tiny_runs import LITTLE, TRUST, train


def text_of(run: Path, tmp_path: Path) -> str:
    return Page(report([run], tmp_path / "page.html").read_text(encoding="utf-8")).text


FACTS = Facts(params=100, macs=1000, nonzero_macs=1000, dead_channels=0, uneven=0.0)
MEASURE = Measure(9.1, 10.1, 11.1, 1.123, 1.112, 1.134, 1.1, 100, 10**6, 1000, 0.0, True)


def timed(candidates: dict[str, object], *_: object, **__: object) -> Bench:
    """As of ``bench``, at once."""
    return Bench(
        against=next(iter(candidates)),
        settings={"threads": 1},
        machine={"processor": "a processor"},
        inputs=[[1, 3, 24, 32]],
        networks=dict.fromkeys(candidates, FACTS),
        measures={"torch": dict.fromkeys(candidates, MEASURE)},
        versions={},
    )


def test_every_verb_after_training_reaches_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "bench", timed)
    run = tmp_path / "run"
    assert train("magnitude", run, "--method.density", "0.5", steps=2, words=LITTLE) == 0
    assert "What was deployed" not in text_of(run, tmp_path)
    assert main(["compact", str(run), *TRUST]) == 0
    assert main(["export", str(run), "--format", "pt2", "--tasks", "seg,depth", *TRUST]) == 0
    assert main(["bench", str(run), "--repeats", "2", *TRUST]) == 0
    text = text_of(run, tmp_path)
    assert "What was deployed" in text
    compact = json.loads((run / "compact.json").read_text())
    assert compact["before"]["params"] > 0
    assert "Compacted from " in text.replace("Compactedfrom", "Compacted from")
    assert "model-seg-depth.pt2 for pt2, " in text
    assert "seg and depth alone" in text
    assert json.loads((run / "bench.json").read_text())["network"] == "run"
    said = "10.1 ms against 10.1 ms of run (before compact), 1.12 times as fast (1.11 to 1.13)"
    assert f"{said}; 1 thread, input 1 × 3 × 24 × 32, a processor" in text
    assert "bookcase" in text or "books" in text, "names of the classes"
    assert "0.7 m" in text
    assert "10 m" in text


@pytest.mark.parametrize("name", ["compact.json", "exports.json", "bench.json"])
def test_a_damaged_file_is_named(name: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / name).write_text("[1]")
    with pytest.raises(ValueError, match=f"{name} cannot be understood"):
        report([run], tmp_path / "page.html")


def test_legends_are_the_colours_of_the_pictures() -> None:
    import torch

    found = legend(segmentation_picture, ("wall", "bed"))
    drawn = segmentation_picture(torch.tensor([[0, 1, 255]])).tolist()[0]
    assert [(n, tuple(bytes.fromhex(c[1:]))) for n, c in found["colours"]] == [
        ("wall", tuple(drawn[0])),
        ("bed", tuple(drawn[1])),
        ("no label", tuple(drawn[2])),
    ]
    marks = legend(depth_picture)["colours"]
    assert marks[0][0] == "0.7 m"
    near = depth_picture(torch.tensor([[[0.7, 10.0]]])).tolist()[0]
    assert [marks[0][1], marks[-1][1]] == ["#" + bytes(colour).hex() for colour in near]
    assert "x is red" in legend(normal_picture)["note"]
    assert legend(print) == {}
