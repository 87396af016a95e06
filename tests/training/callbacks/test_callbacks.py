"""Stopping early, keeping the best, averages: at the right step, with the density asked, and the same when stopped and resumed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from problems import equal, two_heads, weights
from secateur import (
    EMA,
    Callback,
    ClipGradients,
    Dense,
    EarlyStopping,
    GradualMagnitude,
    KeepBest,
    LotteryTicket,
    Problem,
    Snapshots,
    SoftThreshold,
    Sparsifier,
    Task,
    components,
    density,
    evaluate,
    fit,
    load,
)
from secateur.measures.metrics import MeanOf
from secateur.training import CallbackError, Course


def error(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (prediction - target).abs().mean()


def accuracy(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (prediction.argmax(1) == target).float().mean()


def judged(seed: int = 0) -> Problem:
    """Two heads with a metric each, one of which is better when it is lower."""
    made = two_heads(seed)
    tasks = {
        "colour": Task(made.tasks["colour"].loss, {"accuracy": MeanOf(accuracy, higher_is_better=True)}),
        "shade": Task(made.tasks["shade"].loss, {"error": MeanOf(error, higher_is_better=False)}),
    }
    return Problem(made.model, tasks, made.train, made.val, made.test)


def left(problem: Problem) -> float:
    return density(problem.model, components(problem)).overall


class Scripted(Callback):
    """Writes down what it is told; replaces metrics by a script where one is given."""

    decides = False

    def __init__(self, said: list[str] | None = None) -> None:
        self.said = [] if said is None else said

    def start(self, course: Course) -> None:
        self.said.append("start")

    def before_step(self, course: Course) -> None:
        assert any(p.grad is not None for p in course.problem.model.parameters())
        self.said.append("before")

    def after_step(self, course: Course, losses: Mapping[str, Any]) -> None:
        assert losses.keys() == {"colour", "shade"}
        self.said.append(f"step {course.step}")

    def validated(self, course: Course, metrics: Mapping[str, Any]) -> None:
        assert metrics["shade"]["error"] > 0
        self.said.append("validated")

    def finish(self, course: Course) -> None:
        self.said.append("finish")

    def end(self, course: Course) -> None:
        self.said.append("end")

    def failed(self, course: Course, error: BaseException) -> None:
        self.said.append(f"failed {type(error).__name__}")


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What each validation finds for colour's accuracy, in turn; the last from then on."""
    found: list[float] = []

    def told(problem: Problem, split: str) -> dict[str, dict[str, float]]:
        value = found.pop(0) if len(found) > 1 else found[0]
        return {"colour": {"accuracy": value}, "shade": {"error": 1.0 - value}}

    monkeypatch.setattr(import_module("secateur.training.fit"), "evaluate", told)
    return found


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
    assert "any number" in history.stopped


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


def test_the_best_state_is_that_of_its_step(scores: list[float]) -> None:
    scores += [0.5, 0.9, 0.6, 0.9]
    best, same = judged(), judged()
    keep = KeepBest("colour.accuracy")
    history = fit(best, steps=8, validate_every=2, callbacks=[keep], schedule=lambda _: 1.0, progress=False)
    fit(same, steps=4, schedule=lambda _: 1.0, progress=False)
    assert equal(weights(best), weights(same))
    assert (keep.step, keep.value, history.kept) == (4, 0.9, 4)


@pytest.mark.parametrize(
    "method",
    [
        SoftThreshold(density=0.1, ramp=(0.1, 0.5)),
        GradualMagnitude(density=0.1, ramp=(0.1, 0.5)),
        LotteryTicket(density=0.1, rounds=2),
    ],
)
def test_a_moment_that_was_dense_is_no_best(scores: list[float], method: Sparsifier) -> None:
    scores += [1.0, 0.99, 0.98, 0.97, *(0.5 - n / 100 for n in range(20))]
    problem, keep = judged(), KeepBest("colour.accuracy")
    fit(problem, method, steps=12, validate_every=2, callbacks=[keep], progress=False)
    assert keep.value is not None
    assert keep.value <= 0.98
    assert left(problem) == pytest.approx(0.1, abs=0.0005)


def test_where_no_state_counts_the_last_stays_and_it_is_said() -> None:
    """Too short a ramp for any validation but those before its end; the method freezes in ``finish``."""

    class Late(GradualMagnitude):
        def settled(self) -> bool:
            return False

    problem, plain = judged(), judged()
    with pytest.warns(UserWarning, match="KeepBest: no validation of colour"):
        history = fit(
            problem,
            Late(density=0.2),
            steps=6,
            validate_every=2,
            callbacks=[KeepBest("colour")],
            progress=False,
        )
    fit(plain, GradualMagnitude(density=0.2), steps=6, progress=False)
    assert history.kept is None
    assert equal(weights(problem), weights(plain))


def test_where_no_density_is_asked_a_denser_state_is_no_best(scores: list[float]) -> None:
    class Shrinking(Sparsifier):
        """Asks for no density, and zeroes one more weight a step."""

        def start(self, problem: Problem, steps: int) -> None:
            self.weight = problem.model.trunk[0].weight

        @torch.no_grad()
        def after_step(self, step: int, optimizer: Any) -> None:
            self.weight.view(-1)[: step * 10] = 0.0

    scores += [0.9, 0.8, 0.7]
    keep = KeepBest("colour")
    fit(judged(), Shrinking(), steps=6, validate_every=2, callbacks=[keep], progress=False)
    assert keep.step == 6


def test_the_average_is_what_the_formula_says() -> None:
    class Weights(Callback):
        turn = -1

        def start(self, course: Course) -> None:
            self.average, self.count = None, 0

        def after_step(self, course: Course, losses: Any) -> None:
            now = course.problem.model.colour.weight.detach().clone()
            decay = min(0.5, (1 + self.count) / (10 + self.count)) if self.count else 0.0
            self.average = now if self.average is None else decay * self.average + (1 - decay) * now
            self.count += 1

    problem, by_hand = judged(), Weights()
    fit(problem, steps=12, callbacks=[EMA(0.5), by_hand], progress=False)
    torch.testing.assert_close(problem.model.colour.weight.detach(), by_hand.average)


@pytest.mark.parametrize(
    "method",
    [
        SoftThreshold(density=0.1),
        GradualMagnitude(density=0.1),
        LotteryTicket(density=0.1, rounds=2),
        SoftThreshold(density=0.1, freeze=1.0),
    ],
)
def test_an_average_has_exact_zeros_and_is_what_was_validated(method: Sparsifier) -> None:
    problem = judged()
    history = fit(problem, method, steps=20, validate_every=10, callbacks=[EMA(0.9)], progress=False)
    assert left(problem) == pytest.approx(0.1, abs=0.0005)
    assert evaluate(problem, "val") == history.rows[-1]["val"]
    plain = judged()
    fit(plain, method, steps=20, validate_every=10, progress=False)
    assert not equal(weights(problem), weights(plain))


def test_training_goes_on_from_the_weights_and_not_from_their_average() -> None:
    plain, averaged = judged(), judged()
    seen: list[dict[str, torch.Tensor]] = []

    class Last(Callback):
        def finish(self, course: Course) -> None:
            seen.append({n: p.detach().clone() for n, p in course.problem.model.named_parameters()})

    Last.turn = -1
    fit(plain, steps=6, validate_every=2, callbacks=[Last()], progress=False)
    fit(averaged, steps=6, validate_every=2, callbacks=[EMA(), Last()], progress=False)
    assert equal(*seen)


def test_clipping_is_torchs() -> None:
    seen: list[float] = []

    class Norm(Callback):
        turn = 3

        def before_step(self, course: Course) -> None:
            grads = [p.grad for p in course.problem.model.parameters() if p.grad is not None]
            seen.append(float(torch.nn.utils.get_total_norm(grads)))

    fit(judged(), steps=3, callbacks=[Norm()], progress=False)
    fit(judged(), steps=3, callbacks=[ClipGradients(0.05), Norm()], progress=False)
    assert min(seen[:3]) > 0.06
    assert seen[3:] == pytest.approx([0.05] * 3, rel=1e-4)


def test_snapshots_are_the_network_of_their_step(tmp_path: Path) -> None:
    problem = judged()
    history = fit(
        problem,
        SoftThreshold(density=0.2),
        steps=12,
        log_every=3,
        callbacks=[Snapshots(tmp_path, every=3, last=3)],
        progress=False,
    )
    assert [p.name for p in sorted(tmp_path.iterdir())] == [f"step-{n:02}.safetensors" for n in (6, 9, 12)]
    for path, row in zip(sorted(tmp_path.iterdir()), history.rows[1:], strict=True):
        loaded = judged(seed=1)
        load(loaded.model, path)
        assert left(loaded) == pytest.approx(row["density"]["overall"])
    assert equal(weights(loaded), weights(problem))
