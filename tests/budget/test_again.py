"""The folders of pruned networks: the same command goes on or returns, another is refused, and a failed one leaves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secateur import Budget
from secateur.budget.folders import asked, claimed, folders_of
from secateur.runs import RunFolder

BUDGETS = [Budget(macs="0.5x"), Budget(macs="0.25x")]


def test_a_folder_in_the_place_of_weights_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"is a folder; give the file of the weights \(no file in it ends in"
    ):
        configs(tmp_path)
    (tmp_path / "best.pth").touch()
    with pytest.raises(FileNotFoundError, match=r"give the file of the weights \(there is .*best\.pth\)"):
        configs(tmp_path)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "w.pt"
    path.write_bytes(b"weights")
    return path


def configs(weights: Path, budgets: list[Budget] = BUDGETS, **options: Any) -> list[dict[str, Any]]:
    return asked({"seed": 0}, budgets, weights, {"steps": 10, **options})


def test_the_same_command_finds_its_folders_and_another_is_refused(tmp_path: Path, weights: Path) -> None:
    out = tmp_path / "out"
    runs = folders_of(BUDGETS, out)
    assert [run.path.name for run in runs] == ["0.5x-macs", "0.25x-macs"]
    for _ in range(2):
        with claimed(runs, configs(weights)):
            assert not list(out.rglob("*.partial"))
            for run in runs:
                (run.path / ".model.safetensors.999999999.partial").write_bytes(b"half")
                run.report.write_text("{}")
    with (
        pytest.raises(ValueError, match=r"another configuration: prune\.steps is 10 there, 20 asked"),
        claimed(runs, configs(weights, steps=20)),
    ):
        pass
    others = [Budget(macs="0.5x"), Budget(macs="0.1x")]
    with claimed(folders_of(others, out), configs(weights, others)):  # whose first is the same
        pass
    weights.write_bytes(b"others")
    with (
        pytest.raises(ValueError, match=r"another configuration: prune\.weights is"),
        claimed(runs, configs(weights)),
    ):
        pass


def test_where_it_fails_only_networks_that_were_finished_stay(tmp_path: Path, weights: Path) -> None:
    for number in (0, 1):
        runs = folders_of(BUDGETS, tmp_path / "out")
        with pytest.raises(RuntimeError), claimed(runs, configs(weights)):  # noqa: PT012
            for run in runs[:number]:
                run.report.write_text("{}")
            raise RuntimeError
        left = [path.name for path in (tmp_path / "out").glob("*")]
        assert left == [run.path.name for run in runs[:number]]


def test_what_lies_there_is_not_touched(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("text")
    with pytest.raises(ValueError, match="exists and is not empty; choose another --out"):
        folders_of(BUDGETS[:1], tmp_path / "out")
    with pytest.raises(ValueError, match="two budgets are the same"):
        folders_of([BUDGETS[0], BUDGETS[0]], tmp_path / "new")
    with pytest.raises(FileNotFoundError, match="No weights at"):
        configs(tmp_path / "none")
    run = RunFolder(tmp_path / "killed")
    run.path.mkdir()
    (run.path / ".config.yaml.999999999.new").write_text("half")
    with claimed(folders_of(BUDGETS[:1], run.path), configs(weights, BUDGETS[:1])):
        assert [path.name for path in run.path.iterdir()] == ["config.yaml"]
        run.report.write_text("{}")
