"""What a training ends with in place of its last weights: the best state, an average; and what it leaves on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from loops.judged import judged, left
from problems import equal, weights
from secateur import (
    EMA,
    Callback,
    ClipGradients,
    GradualMagnitude,
    KeepBest,
    LotteryTicket,
    Problem,
    RigL,
    Snapshots,
    SoftThreshold,
    Sparsifier,
    evaluate,
    fit,
    load,
)
from secateur.training import Course


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


@pytest.mark.filterwarnings("ignore:Dense training of a network")
def test_dense_training_keeps_the_best_also_where_zeros_fill_up(scores: list[float]) -> None:
    problem = judged()
    with torch.no_grad():
        problem.model.trunk[4].weight[1:] = 0.0
    scores += [0.5, 0.9, 0.8]
    keep = KeepBest("colour")
    fit(problem, steps=6, validate_every=2, callbacks=[keep], progress=False)
    assert (keep.step, keep.value) == (4, 0.9)


def test_a_state_in_which_grown_weights_were_not_trained_yet_is_not_kept(scores: list[float]) -> None:
    scores += [0.9, 0.5, 0.8, 0.6]
    problem, keep = judged(), KeepBest("colour")
    method = RigL(density=0.2, every=2, until=0.5)
    fit(problem, method, steps=16, validate_every=4, callbacks=[keep], progress=False)
    assert (keep.step, keep.value) == (12, 0.8)  # with step 4 weights were exchanged, with 8 they stay
    assert left(problem) == pytest.approx(0.2, abs=0.001)


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


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_clipping_under_mixed_precision_is_of_the_gradients_themselves(precision: str) -> None:
    """Not of the gradients times what a scaler has multiplied the loss by."""
    seen: list[float] = []

    class Norm(Callback):
        turn = 3

        def before_step(self, course: Course) -> None:
            grads = [p.grad for p in course.problem.model.parameters() if p.grad is not None]
            seen.append(float(torch.nn.utils.get_total_norm(grads)))

    problem = judged()
    before = weights(problem)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0) if precision == "16-mixed" else None
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision(precision, "cpu", scaler)])  # pyright: ignore
    fit(problem, steps=3, fabric=fabric, callbacks=[ClipGradients(0.05), Norm(), EMA(0.0)], progress=False)
    assert seen == pytest.approx([0.05] * 3, rel=1e-2)
    assert not equal(before, weights(problem))


def test_delta_t_is_against_the_reference_and_leaves_out_what_is_zero_there(scores: list[float]) -> None:
    scores += [0.5, 0.25, 0.4]
    keep = KeepBest("delta_t")
    reference = {"colour": {"accuracy": 0.0}, "shade": {"error": 0.5}}
    fit(judged(), steps=6, validate_every=2, reference=reference, callbacks=[keep], progress=False)
    assert (keep.step, keep.value) == (
        2,
        pytest.approx(0.0),
    )  # shade's error is 1 - 0.5 there, as in the reference
    with pytest.raises(ValueError, match="KeepBest: the reference has no metric of these tasks"):
        fit(
            judged(),
            steps=2,
            reference={"other": {"m": 1.0}},
            callbacks=[KeepBest("delta_t")],
            progress=False,
        )


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
