"""What a machine of a cluster does for a run, and how its folder comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from processes.cluster import RUNS
from processes.forked import FORKS
from secateur.cli import main
from secateur.runs.folder import RunFolder
from secateur.runs.study import Cell, grid, running
from secateur.runs.study.brought import digest_of, packed, write_run
from secateur.runs.study.node import Done, Order, carry_out, installed


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cell]:
    out = tmp_path_factory.mktemp("here")
    (cell,) = grid(["dense"], [*RUNS, "--steps=2"])
    assert main(["train", *cell.arguments, "--out", str(out / cell.name)]) == 0
    return out, cell


def order(cell: Cell, out: Path, **more: Any) -> Order:
    asked = {"cwd": str(out), "workers": 0, "threads": 1, "gpus": False, "versions": installed()}
    return Order(cell.name, cell.arguments, str(out), (".token", "1"), **{**asked, **more})


@pytest.fixture
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "subprocess", FORKS)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.usefixtures("_machine")
def test_a_machine_that_sees_the_folder_trains_in_it(trained: tuple[Path, Cell], tmp_path: Path) -> None:
    _, cell = trained
    (tmp_path / ".token").write_text("1")
    assert carry_out(order(cell, tmp_path)) == Done(None)
    assert RunFolder(tmp_path / cell.name).finished


@pytest.mark.usefixtures("_machine")
def test_a_machine_that_does_not_sends_the_folder_whole(trained: tuple[Path, Cell], tmp_path: Path) -> None:
    straight, cell = trained
    out = tmp_path / "out"
    done = carry_out(order(cell, out, cwd=str(tmp_path / "nowhere")))
    assert done.error is None
    assert done.files is not None
    assert b"report" in done.log
    assert not out.exists()
    assert not list(tmp_path.rglob("model.safetensors")), "nothing is left behind there"
    write_run(done.files, done.digest, RunFolder(out / cell.name), cell.arguments)
    for name in ("config.yaml", "metrics.jsonl", "model.safetensors", "samples.npz"):
        assert (out / cell.name / name).read_bytes() == (straight / cell.name / name).read_bytes(), name
    assert RunFolder(out / cell.name).finished


@pytest.mark.usefixtures("_machine")
def test_a_recipe_of_ones_own_and_references_go_along(trained: tuple[Path, Cell], tmp_path: Path) -> None:
    straight, dense = trained
    options = [*RUNS, "--steps=2"]
    text = "method: {name: GradualMagnitude, density: 0.5}\nweighting: {name: AdaptiveWeighting}\n"
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(text)
    cell = grid([str(recipe)], options)[-1]
    recipe.unlink()
    sent = ("mine.yaml", text.encode())
    beside = {dense.name: packed(straight / dense.name)}
    done = carry_out(order(cell, tmp_path / "out", recipe=sent, beside=beside))
    assert done.files is not None, done
    report = json.loads(done.files["report.json"])
    assert report["name"] == "mine"
    assert report["delta_t"]["against"].endswith(dense.name)


def test_other_versions_are_refused_where_they_are(trained: tuple[Path, Cell], tmp_path: Path) -> None:
    _, cell = trained
    done = carry_out(order(cell, tmp_path, versions={**installed(), "torch": "1.0"}))
    assert done.error is not None
    assert f"torch {installed()['torch']} instead of 1.0" in done.error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda files: files.pop("samples.npz"), "not whole"),
        (lambda files: files.update({"model.safetensors": files["model.safetensors"][:-1]}), "not whole"),
        (lambda files: files.update({"../outside": b""}), "leads out"),
        (lambda files: files.pop("report.json"), "not whole"),
    ],
)
def test_what_is_not_whole_changes_nothing(
    trained: tuple[Path, Cell], tmp_path: Path, change: Any, why: str
) -> None:
    straight, cell = trained
    files = packed(straight / cell.name)
    digest = digest_of(files)
    change(files)
    digest = digest_of(files) if "report.json" not in files or "../outside" in files else digest
    with pytest.raises(ValueError, match=why):
        write_run(files, digest, RunFolder(tmp_path / "run"), cell.arguments)
    assert not list(tmp_path.iterdir())


def test_another_run_is_not_taken(trained: tuple[Path, Cell], tmp_path: Path) -> None:
    straight, cell = trained
    files = packed(straight / cell.name)
    with pytest.raises(ValueError, match="another run: steps is 2 there, 3 asked"):
        write_run(files, digest_of(files), RunFolder(tmp_path / "run"), [*cell.arguments, "--steps=3"])
