"""The dense run beside a run is its reference only where all but the method is the same; otherwise it is said what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from run_folders import make_run, page_of
from secateur.cli import main
from secateur.runs.config import Config, parse, resolved
from secateur.runs.folder import RunFolder
from secateur.runs.problems import make_problem
from secateur.runs.references import found, neighbour, reference_place
from secateur.runs.result import _is_dense, figures  # pyright: ignore[reportPrivateUsage]
from tiny_runs import TINY, train

# What a run is told to be, other than the method; the network and the data are found wanting without a word.
OTHERS = {
    "lr": ["--lr", "1000"],
    "decay": ["--decay", "constant"],
    "betas": ["--betas", "[0.5, 0.999]"],
    "weight_decay": ["--weight_decay", "0.1"],
    "precision": ["--precision", "bf16-mixed"],
    "aggregator": ["--aggregator", "Sum"],
    "weighting": ["--weighting", "Equal"],
    "weighting.window": ["--weighting.window", "0.2"],
    "batch": ["--batch", "2"],
    "steps": ["--steps", "3"],
    "seed": ["--seed", "1"],
}
METHODS = {
    "density": ["--method.density", "0.5"],
    "teacher": ["--teacher", "dense", "--distill", "0.5"],
    "recalibrate": ["--recalibrate", "2"],
    "floors": ["--floors", "{seg: 0.1}", "--tries", "2"],
    "looks": ["--validate_every", "1"],
    "device": ["--device", "auto"],
}


def config(recipe: str, *options: str) -> Config:
    return resolved(parse([recipe, *TINY, "--steps", "2", *options]))


def dense_run(folder: Path, *options: str) -> None:
    RunFolder(folder).claim(config("dense", *options))
    (folder / "report.json").write_text(json.dumps({**figured(0.5), "dense": True}), encoding="utf-8")


def figured(depth: float) -> dict[str, Any]:
    return {"tasks": {"depth": {"abs": depth}}, "higher_is_better": {"depth": {"abs": False}}}


@pytest.mark.parametrize("setting", OTHERS)
def test_a_run_of_other_settings_is_no_reference(setting: str, tmp_path: Path) -> None:
    dense_run(tmp_path / "dense", *OTHERS[setting])
    found, said = neighbour(RunFolder(tmp_path / "run"), config("magnitude"))
    assert found is None
    assert f"the nearest, dense, differs: {setting}" in said
    assert f"--against {tmp_path / 'dense'}" in said


@pytest.mark.parametrize("setting", METHODS)
def test_the_method_and_its_means_do_not_matter(setting: str, tmp_path: Path) -> None:
    dense_run(tmp_path / "dense")
    found, said = neighbour(RunFolder(tmp_path / "run"), config("magnitude", *METHODS[setting]))
    assert found is not None
    assert found["folder"] == str(tmp_path / "dense")
    assert said == ""


def test_the_one_that_fits_is_taken_whatever_stands_before_it(tmp_path: Path) -> None:
    dense_run(tmp_path / "a", "--lr", "1000")
    dense_run(tmp_path / "b")
    found, _ = neighbour(RunFolder(tmp_path / "run"), config("magnitude"))
    assert found is not None
    assert found["folder"] == str(tmp_path / "b")


def test_the_nearest_is_named_and_other_networks_are_not(tmp_path: Path) -> None:
    dense_run(tmp_path / "a", "--lr", "1000", "--seed", "1")
    dense_run(tmp_path / "b", "--lr", "1000")
    dense_run(tmp_path / "c", "--model.width", "0.1")
    _, said = neighbour(RunFolder(tmp_path / "run"), config("magnitude"))
    assert "the nearest, b, differs: lr is 1000.0 there, 0.001 asked." in said
    (tmp_path / "other").mkdir()
    dense_run(tmp_path / "other" / "c", "--model.width", "0.1")
    assert neighbour(RunFolder(tmp_path / "other" / "run"), config("magnitude")) == (None, "")


def test_the_command_line_says_it_and_the_report_holds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("dense", tmp_path / "dense", "--lr", "0.01", steps=2) == 0
    assert train("magnitude", tmp_path / "run", steps=2) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "differs: lr is 0.01 there, 0.001 asked. Train one with the same options, or name it" in said
    found = json.loads((tmp_path / "run" / "report.json").read_text())["delta_t"]
    assert found["against"] is None
    assert found["mean"] is None

    given = ["--against", str(tmp_path / "dense")]
    assert train("magnitude", tmp_path / "given", *given, steps=2) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The reference differs in more than the method: lr is 0.01 there, 0.001 asked." in said
    assert main(["report", str(tmp_path / "dense"), str(tmp_path / "given")]) == 0


def test_a_finished_run_takes_the_reference_that_it_is_given_or_that_has_come_since(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"

    def told() -> Any:
        return json.loads((run / "report.json").read_text())["delta_t"]

    assert train("magnitude", run, steps=2) == 0
    assert "train one beside it" in " ".join(capsys.readouterr().out.split())
    assert train("dense", tmp_path / "far" / "dense", "--lr", "0.01", steps=2) == 0
    assert train("magnitude", run, "--against", str(tmp_path / "far" / "dense"), steps=2) == 0
    assert told()["against"] == "../far/dense"
    assert "lr is 0.01 there" in told()["differs"]
    (run / "report.json").write_text(
        json.dumps({**json.loads((run / "report.json").read_text()), "delta_t": {**told(), "against": None}})
    )
    assert train("dense", tmp_path / "dense", steps=2) == 0
    assert train("magnitude", run, steps=2) == 0
    assert told()["against"] == "../dense"
    assert told()["differs"] == ""


def test_a_page_says_it_of_the_runs_that_it_is_given(tmp_path: Path) -> None:
    dense = make_run(tmp_path / "dense", dense=True)
    with (dense / "config.yaml").open("a") as file:
        file.write("lr: 1000\n")
    page = page_of([dense, make_run(tmp_path / "run")], tmp_path)
    assert "adapmtl and its dense reference dense differ in more than the method" in page.text
    assert "lr is 1000 there, None asked" in page.text
    alike = [make_run(tmp_path / "two" / "dense", dense=True), make_run(tmp_path / "two" / "run")]
    assert "in more than the method" not in page_of(alike, tmp_path).text


def test_dense_is_what_dense_trained_with_no_more_zeros_than_chance_gives() -> None:
    """Channels of a pruned network that are dead get no gradient, so dense training leaves them."""
    asked = config("dense")
    problem, data = make_problem(asked)
    weight = next(p for p in problem.model.parameters() if p.dim() == 4)
    assert not figures(config("magnitude"), problem, data, 0.0, "")["dense"], "it was not trained densely"
    with torch.no_grad():
        weight.view(-1)[0] = 0
        found = figures(asked, problem, data, 0.0, "")
        assert found["density"]["overall"] < 1
        assert found["dense"]
        weight[0] = 0
    found = figures(asked, problem, data, 0.0, "")
    assert 0.9 < found["density"]["overall"] < 1
    assert not found["dense"]
    assert not figures({**asked, "prune": {}}, problem, data, 0.0, "")["dense"]


@pytest.mark.parametrize(("nonzero", "dense"), [(10**8 - 100, True), (10**8 - 101, False), (0, False)])
def test_chance_gives_a_share_of_a_wide_network(nonzero: int, dense: bool) -> None:
    assert _is_dense(config("dense"), {"prunable": 10**8, "nonzero": nonzero}) is dense


def test_a_run_that_is_a_link_has_the_references_of_both_sides(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "disk" / "target").mkdir(parents=True)
    run = tmp_path / "here" / "run"
    run.symlink_to(tmp_path / "disk" / "target")
    for place in ("disk", "here"):
        dense_run(tmp_path / place / "dense")
        found, _ = neighbour(RunFolder(run), config("magnitude"))
        assert found is not None
        assert found["folder"] == str(tmp_path / place / "dense")


def test_a_reference_is_named_from_what_the_run_is_a_link_to(tmp_path: Path) -> None:
    """So that it is found by the link and without it."""
    (tmp_path / "here").mkdir()
    (tmp_path / "disk" / "deep" / "target").mkdir(parents=True)
    run = tmp_path / "here" / "run"
    run.symlink_to(tmp_path / "disk" / "deep" / "target")
    dense_run(tmp_path / "here" / "dense")
    report = {**figured(0.4), "dense": False}
    told = found(report, None, RunFolder(run), config("magnitude"))
    assert told["against"] == "../../../here/dense"
    for path in (run, run.resolve()):
        assert reference_place(path, {"delta_t": told}) == tmp_path / "here" / "dense"
    seen = {"delta_t": {"against": "../dense"}}  # as it was written of such a run
    assert reference_place(run, seen) == tmp_path / "here" / "dense"


def test_a_reference_that_was_named_from_the_working_folder_is_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dense_run(Path("runs/dense"))
    old = {**figured(0.4), "dense": False, "delta_t": {"against": "runs/dense", "tasks": {"depth": 20.0}}}
    assert reference_place(Path("runs/run"), old) == Path("runs/dense")
    held = json.loads(Path("runs/dense/report.json").read_text())
    Path("runs/dense/report.json").write_text(json.dumps({**held, "tasks": {"depth": {"abs": 0.6}}}))
    other = reference_place(Path("runs/run"), old)
    assert other == Path("runs/run/runs/dense"), "another run that is called so gave other differences"
    dense_run(Path("runs/run/runs/dense"))
    assert reference_place(Path("runs/run"), old) == other


def test_a_finished_run_is_shown_wherever_it_and_its_reference_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    for recipe in ("dense", "magnitude"):
        assert train(recipe, Path("runs") / recipe, steps=1) == 0
    told = json.loads(Path("runs/magnitude/report.json").read_text())["delta_t"]
    assert told["against"] == "../dense"
    (tmp_path / "a" / "runs").rename(tmp_path / "moved")
    run = tmp_path / "moved" / "magnitude"
    capsys.readouterr()
    assert train("magnitude", run, steps=1) == 0
    assert "reference" in capsys.readouterr().out, "it stands beside it"
    monkeypatch.chdir(tmp_path)
    assert reference_place(Path("moved/magnitude"), {"delta_t": told}) == Path("moved/dense")
    (tmp_path / "moved" / "dense").rename(tmp_path / "elsewhere")
    assert train("magnitude", run, steps=1) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Shown without its dense reference: moved/dense does not exist" in said
    (run / "report.html").unlink()
    (run / "report.html").mkdir()  # as where the folder may be read alone
    with pytest.warns(UserWarning, match="no page was written"):
        assert train("magnitude", run, steps=1) == 0
