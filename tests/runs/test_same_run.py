"""Options that change no value, such as how much is kept in memory, tell no run from another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miniatures.domains import folders
from secateur.cli import main
from secateur.runs.config import digest, parse, resolved, telling
from secateur.runs.study import grid


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = folders(tmp_path_factory.mktemp("set"))
    data = ["--data", "domains", "--data.root", str(root), "--size", "16x16", "--batch", "2", "--steps", "2"]
    return [*data, "--model", "separate_bottom", "--model.width", "0.0625", "--device", "cpu"]


IDLE = [["--data.cache", "0"], ["--workers", "1"], ["--data.cache", "0", "--workers", "1"]]


@pytest.mark.parametrize("options", IDLE, ids=" ".join)
def test_a_configuration_is_told_by_what_changes_values(shared: list[str], options: list[str]) -> None:
    asked, other = (resolved(parse(["dense", *shared, *more])) for more in ([], options))
    assert telling(asked) == telling(other)
    assert digest(asked) == digest(other)
    assert digest(asked) != digest(resolved(parse(["dense", *shared, "--data.test_share", "0.3"])))


def test_the_memory_asked_is_the_memory_used(shared: list[str]) -> None:
    assert resolved(parse(["dense", *shared, "--data.cache", "0"]))["data"]["cache"] == 0


def test_runs_that_differ_in_nothing_else_are_one(
    shared: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    dense, pruned = tmp_path / "dense", tmp_path / "pruned"
    assert main(["train", "dense", *shared, "--out", str(dense)]) == 0
    before = (dense / "model.safetensors").stat().st_mtime_ns
    for options in IDLE:
        assert main(["train", "dense", *shared, *options, "--out", str(dense)]) == 0, "finished: returns"
    assert (dense / "model.safetensors").stat().st_mtime_ns == before
    prune = ["train", "magnitude", *shared, "--data.cache", "0", "--out", str(pruned)]
    assert main(prune) == 0
    found = json.loads((pruned / "report.json").read_text(encoding="utf-8"))
    assert found["delta_t"]["against"] == "../dense", "found beside it as its reference"
    (pruned / "report.json").unlink()
    assert main([*prune[:-3], "1", "--out", str(pruned), "--against", str(dense)]) == 0, "given as one"
    capsys.readouterr()
    assert main(["train", "dense", *shared, "--data.test_share", "0.3", "--out", str(dense)]) == 1
    assert "data.test_share is 0.2 there, 0.3 asked" in " ".join(capsys.readouterr().err.split())


def test_recipes_that_differ_in_nothing_else_can_be_compared(shared: list[str], tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    text = "method: {name: GradualMagnitude, density: 0.5}\ndata: {name: domains, cache: 0}\n"
    recipe.write_text(text, encoding="utf-8")
    assert len(grid(["dense", str(recipe)], shared)) == 2
