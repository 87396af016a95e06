"""Hooks in their order, and stopping early at the right step, with the density asked."""

from __future__ import annotations

import math
from typing import Any

import pytest

from loops.judged import Scripted, judged, left
from problems import equal, weights
from secateur import (
    Callback,
    Dense,
    EarlyStopping,
    GradualMagnitude,
    LotteryTicket,
    SoftThreshold,
    Sparsifier,
    fit,
)
from secateur.training import CallbackError, Course


def test_hooks_come_in_their_order() -> None:
    said: list[str] = []
    fit(judged(), steps=2, validate_every=2, callbacks=[Scripted(said)], progress=False)
    assert said == ["start", "before", "step 1", "before", "step 2", "validated", "finish", "end"]


def test_callbacks_that_only_look_change_nothing() -> None:
    plain, watched = judged(), judged()
    fit(plain, SoftThreshold(density=0.2), steps=6, validate_every=2, progress=False)
    fit(
        watched, SoftThreshold(density=0.2), steps=6, validate_every=2, callbacks=[Scripted()], progress=False
    )
    assert equal(weights(plain), weights(watched))


@pytest.mark.parametrize("metric", ["colour.accuracy", "colour", "shade.error", "delta_t"])
def test_it_stops_once_patience_is_over(scores: list[float], metric: str) -> None:
    scores += [0.5, 0.6, 0.6, 0.55, 0.7]
    problem = judged()
    history = fit(
        problem, steps=20, validate_every=2, callbacks=[EarlyStopping(metric, patience=2)], progress=False
    )
    assert history.rows[-1]["step"] == 8  # better at 4, then not at 6 and 8
    assert f"{metric} was no better than" in history.stopped


def test_what_is_better_by_too_little_is_no_better(scores: list[float]) -> None:
    scores += [0.5, 0.51, 0.52, 0.6]
    stopping = EarlyStopping("colour", patience=2, min_delta=0.05)
    history = fit(judged(), steps=20, validate_every=2, callbacks=[stopping], progress=False)
    assert history.rows[-1]["step"] == 6


def test_nan_is_never_better(scores: list[float]) -> None:
    scores += [math.nan]
    history = fit(
        judged(), steps=20, validate_every=2, callbacks=[EarlyStopping("colour", patience=3)], progress=False
    )
    assert history.rows[-1]["step"] == 6
    assert history.stopped == "colour was no number in 3 validations"


@pytest.mark.parametrize(
    ("method", "first"),
    [
        (SoftThreshold(density=0.1, ramp=(0.1, 0.6)), 12),
        (GradualMagnitude(density=0.1, ramp=(0.1, 0.6)), 12),
        (LotteryTicket(density=0.1, rounds=2), 20),
    ],
)
def test_it_stops_only_when_the_density_is_there(scores: list[float], method: Sparsifier, first: int) -> None:
    """The first validation looked at is the first with the density; the second, no better, stops."""
    scores += [0.9, 0.8, 0.7]
    problem = judged()
    history = fit(
        problem, method, steps=20, validate_every=2, callbacks=[EarlyStopping("colour", 1)], progress=False
    )
    assert history.rows[-1]["step"] == first + 2
    assert left(problem) == pytest.approx(0.1, abs=0.0005)


def test_nobody_stops_before_the_density_is_there() -> None:
    class Hasty(Callback):
        def after_step(self, course: Course, losses: Any) -> None:
            course.stop("enough")

    problem = judged()
    with pytest.raises(CallbackError, match=r"Hasty raised in after_step, after step 1: .*density 0.1"):
        fit(problem, SoftThreshold(density=0.1), steps=6, callbacks=[Hasty()], progress=False)
    history = fit(judged(), Dense(), steps=6, callbacks=[Hasty()], progress=False)
    assert history.stopped == "enough"
    assert history.rows[-1]["step"] == 1
