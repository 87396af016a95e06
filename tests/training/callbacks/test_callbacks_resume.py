"""A run stopped at any step and resumed ends as one never stopped, with all that its callbacks remember; other callbacks are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from loops.judged import Scripted, StopAt, judged, left
from problems import equal, weights
from processes.two import in_two
from secateur import (
    EMA,
    Callback,
    ClipGradients,
    EarlyStopping,
    GradualMagnitude,
    History,
    KeepBest,
    LotteryTicket,
    SoftThreshold,
    UncertaintyWeighting,
    WarmUp,
    fit,
)
from secateur.training import Course

STEPS = 24
METHODS = {
    "thresholds": lambda: SoftThreshold(density=0.2, ramp=(0.1, 0.4)),
    "masks": lambda: GradualMagnitude(density=0.2, ramp=(0.1, 0.4)),
    "rounds": lambda: LotteryTicket(density=0.2, rounds=2),
    "dense": lambda: None,
}


def train(method: str, path: Path, *more: Callback, seed: int = 0) -> tuple[Any, History, KeepBest]:
    problem, keep = judged(), KeepBest("delta_t")
    stopping = EarlyStopping("shade", patience=3)
    history = fit(
        problem,
        METHODS[method](),
        UncertaintyWeighting(),
        steps=STEPS,
        seed=seed,
        validate_every=2,
        accumulate=2,
        schedule=WarmUp(0.2),
        checkpoint=path,
        checkpoint_every=3,
        callbacks=[keep, EMA(0.8), ClipGradients(1.0), stopping, *more],
        progress=False,
    )
    return problem, history, keep


@pytest.mark.parametrize(
    "method",
    ["thresholds", "rounds", *(pytest.param(name, marks=pytest.mark.slow) for name in ("masks", "dense"))],
)
def test_stopped_and_resumed_is_never_stopped_bit_for_bit(method: str, tmp_path: Path) -> None:
    whole, history, kept = train(method, tmp_path / "whole.pt")
    for step in (4, 10, 14, 20, 23):
        if step > history.rows[-1]["step"]:
            continue
        with pytest.raises(RuntimeError, match="StopAt raised in after_step"):
            train(method, tmp_path / f"{step}.pt", StopAt(step))
        again, resumed, best = train(method, tmp_path / f"{step}.pt")
        assert equal(weights(whole), weights(again)), step
        assert (resumed.rows, resumed.stopped, resumed.kept) == (history.rows, history.stopped, history.kept)
        assert (best.step, best.value) == (kept.step, kept.value)


def test_a_run_that_stopped_early_stays_stopped(tmp_path: Path) -> None:
    class Enough(Callback):
        def after_step(self, course: Course, losses: Any) -> None:
            if course.step == 5:
                course.stop("enough")

    def run() -> tuple[Any, History]:
        problem = judged()
        return problem, fit(
            problem, steps=12, checkpoint=tmp_path / "c.pt", callbacks=[Enough()], progress=False
        )

    first, history = run()
    again, resumed = run()
    assert history.stopped == resumed.stopped == "enough"
    assert resumed.rows[-1]["step"] == 5
    assert equal(weights(first), weights(again))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ([], "callback EMA is EMA there and None here"),
        ([EMA(0.7)], r"callback EMA.decay is 0.8 there and 0.7 here"),
        ([EMA(0.8), ClipGradients(1.0)], "callback ClipGradients is None there"),
    ],
)
def test_another_callback_that_decides_is_refused(other: list[Callback], said: str, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    fit(judged(), steps=4, checkpoint=path, callbacks=[EMA(0.8)], progress=False)
    problem = judged()
    before = weights(problem)
    with pytest.raises(ValueError, match=said):
        fit(problem, steps=4, checkpoint=path, callbacks=other, progress=False)
    assert equal(before, weights(problem))


def test_one_that_only_looks_may_come_and_go(tmp_path: Path) -> None:
    for number, callbacks in enumerate([[], [Scripted()], [], [Scripted(), EMA()][:1]]):
        with pytest.raises(RuntimeError, match="StopAt"):
            fit(
                judged(),
                steps=8,
                checkpoint=tmp_path / "c.pt",
                checkpoint_every=1,
                callbacks=[*callbacks, StopAt(2 + number)],
                progress=False,
            )


def test_a_state_of_other_shapes_is_refused(tmp_path: Path) -> None:
    class Remembers(Callback):
        def __init__(self, size: int) -> None:
            self.tensor = torch.zeros(size)

        def state_dict(self) -> dict[str, Any]:
            return {"tensor": self.tensor}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise AssertionError("not reached")

    path = tmp_path / "c.pt"
    fit(judged(), steps=2, checkpoint=path, callbacks=[Remembers(2)], progress=False)
    with pytest.raises(ValueError, match=r"callback Remembers.tensor is float32 \(2,\), not float32 \(3,\)"):
        fit(judged(), steps=2, checkpoint=path, callbacks=[Remembers(3)], progress=False)


@pytest.mark.forks
@pytest.mark.filterwarnings("ignore")
def test_two_processes_stop_together_and_end_with_one_network(tmp_path: Path) -> None:
    """One process alone asks to stop; and early stopping, averages and the best state are of both."""

    class Alone(Callback):
        def __init__(self, rank: int) -> None:
            self._rank = rank

        def after_step(self, course: Course, losses: Mapping[str, Any]) -> None:
            if course.step == 15 and self._rank == 1:
                course.stop("one is enough")

    def run(rank: int) -> dict[str, Any]:
        problem = judged()
        fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
        fabric.launch()
        keep = KeepBest("delta_t")
        history = fit(
            problem,
            SoftThreshold(density=0.2, ramp=(0.1, 0.4)),
            steps=20,
            validate_every=2,
            accumulate=2,
            callbacks=[Alone(rank), keep, EMA(0.8), EarlyStopping("shade", 20), ClipGradients(1.0)],
            fabric=fabric,
            progress=False,
        )
        return {
            "w": weights(problem),
            "step": keep.step,
            "rows": history.rows[-1]["step"],
            "left": left(problem),
        }

    first, second = in_two(run, tmp_path)
    assert equal(first["w"], second["w"])
    assert first["step"] == second["step"]
    assert first["rows"] == second["rows"] == 15
    assert first["left"] == pytest.approx(0.2, abs=0.0005)
