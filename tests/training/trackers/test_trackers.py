"""What trackers are told, before and after a run was stopped; what is refused, and what fails on the way."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loops.judged import StopAt, judged
from problems import equal, weights
from secateur import KeepBest, Problem, SoftThreshold, Task, Tracker, fit
from secateur.training import Tracked
from secateur.training.trackers.tracker import flat

STEPS = 8


def grey(value: torch.Tensor) -> torch.Tensor:
    return value[0].clamp(0, 1).mul(255).byte().unsqueeze(-1).expand(-1, -1, 3)


def pictured() -> Problem:
    made = judged()
    shade = made.tasks["shade"]
    tasks = {**made.tasks, "shade": Task(shade.loss, shade.metrics, picture=grey)}
    return Problem(made.model, tasks, made.train, made.val, made.test)


def train(tracker: Tracker, path: Path | None = None, stop: int = 0) -> Any:
    return fit(
        pictured(),
        SoftThreshold(density=0.2),
        steps=STEPS,
        log_every=2,
        validate_every=4,
        checkpoint=path,
        checkpoint_every=3,
        callbacks=[tracker, *([StopAt(stop)] if stop else [])],
        progress=False,
    )


def stopped_and_resumed(make: Any, folder: Path) -> Any:
    """Stopped after step 5, whose rows since the checkpoint of step 3 come again."""
    with pytest.raises(RuntimeError, match="StopAt"):
        train(make(), folder / "c.pt", stop=5)
    return train(make(), folder / "c.pt")


def expected(history: Any) -> dict[tuple[str, int], float]:
    return {(name, row["step"]): value for row in history.rows for name, value in flat(row).items()}


class Board:
    """A backend of one's own."""

    def __init__(self, broken: str = "") -> None:
        self.values: dict[tuple[str, int], float] = {}
        self.pictures: dict[tuple[str, int], Any] = {}
        self.runs: list[Tracked] = []
        self.closed: list[bool] = []
        self.broken = broken

    def _check(self, verb: str) -> None:
        if verb == self.broken:
            raise OSError("gone")

    def open(self, run: Tracked) -> str:
        self._check("open")
        self.runs.append(run)
        return run.id or "one"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._check("log")
        self.values |= {(name, step): value for name, value in values.items()}

    def picture(self, step: int, name: str, image: Any) -> None:
        self._check("picture")
        self.pictures[name, step] = image

    def close(self, ended: bool) -> None:
        self._check("close")
        self.closed.append(ended)


def test_all_that_the_history_has_and_pictures(tmp_path: Path) -> None:
    board = Board()
    history = stopped_and_resumed(lambda: Tracker(board, name="mine"), tmp_path)
    assert board.values == expected(history)
    names = {name for name, _ in board.values}
    assert {
        "loss/shade",
        "weight/colour",
        "density/overall",
        "density/backbone",
        "lr",
        "val/shade/error",
    } <= names
    assert any(name.startswith("threshold/") for name in names)
    assert {name for name, _ in board.pictures} == {f"shade/{i}" for i in range(4)}
    assert {step for _, step in board.pictures} == {4, 8}
    first = board.pictures["shade/0", 8]
    assert (first.shape, first.dtype) == ((8, 16, 3), np.uint8)
    truth = grey(pictured().val[0][1]["shade"][0])
    assert np.array_equal(first[:, 8:], truth.numpy())
    assert [(run.id, run.step, run.name) for run in board.runs] == [("", 0, "mine"), ("one", 3, "mine")]
    assert board.runs[0].config["method"] == "SoftThreshold"
    assert board.runs[0].config["method.density"] == 0.2
    assert board.runs[0].config["optimizer"] == "Adam"
    assert board.closed == [False, True]


def test_tracking_changes_nothing_of_the_training() -> None:
    plain, tracked = pictured(), pictured()
    for problem, callbacks in ((plain, []), (tracked, [Tracker(Board())])):
        fit(
            problem,
            SoftThreshold(density=0.2),
            steps=6,
            validate_every=2,
            callbacks=callbacks,
            progress=False,
        )
    assert equal(weights(plain), weights(tracked))


def test_what_cannot_begin_is_said_before_training() -> None:
    problem = pictured()
    before = weights(problem)
    with pytest.raises(
        ConnectionError, match=r"Tracker 'Board' cannot begin \(OSError: gone\); nothing was trained"
    ):
        fit(problem, SoftThreshold(density=0.2), steps=2, callbacks=[Tracker(Board("open"))], progress=False)
    assert equal(before, weights(problem))


@pytest.mark.parametrize("verb", ["log", "picture", "close"])
def test_what_fails_on_the_way_is_said_once_and_training_goes_on(verb: str) -> None:
    plain = pictured()
    fit(plain, SoftThreshold(density=0.2), steps=STEPS, log_every=2, validate_every=4, progress=False)
    problem = pictured()
    with pytest.warns(UserWarning, match="Tracker 'Board' failed .*goes on without it") as said:
        fit(
            problem,
            SoftThreshold(density=0.2),
            steps=STEPS,
            log_every=2,
            validate_every=4,
            callbacks=[Tracker(Board(verb))],
            progress=False,
        )
    assert len(said) == 1
    assert equal(weights(plain), weights(problem))


def test_what_is_no_tracker() -> None:
    with pytest.raises(ValueError, match=r"no tracker 'tensorbord'; .*Did you mean tensorboard\?"):
        Tracker("tensorbord")
    with pytest.raises(ValueError, match="object has no open and no log"):
        Tracker(object())  # pyright: ignore
    with pytest.raises(ValueError, match="pictures is -1"):
        Tracker(Board(), pictures=-1)


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb", "mlflow"])
def test_a_missing_package_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"Tracker '{name}' needs {name}; .*secateur\[{name}\]"):
        Tracker(name)


def test_under_floors_each_attempt_is_a_run_of_its_own() -> None:
    board = Board()
    fit(
        pictured(),
        SoftThreshold(density=0.2),
        steps=4,
        floors={"shade": 0.9},
        callbacks=[Tracker(board, pictures=0), KeepBest("delta_t")],
        progress=False,
    )
    assert len(board.runs) >= 2
    assert board.closed == [True] * len(board.runs)
