"""What of callbacks is refused, before anything trains; and what one that raises leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from loops.judged import Scripted, judged
from problems import equal, two_heads, weights
from secateur import (
    EMA,
    Callback,
    ClipGradients,
    EarlyStopping,
    KeepBest,
    Problem,
    Snapshots,
    SoftThreshold,
    WarmUp,
    fit,
)
from secateur.problem import RemediedError
from secateur.pruning import is_effective
from secateur.training import CallbackError, Course

TWICE = Scripted()


@pytest.mark.parametrize(
    ("callbacks", "said"),
    [
        (EMA(), "give a list"),
        ([EMA], r"the class EMA; make one: EMA\(\.\.\.\)"),
        ([print], "builtin_function_or_method"),
        ([EMA(), EMA(0.5)], "two EMA, which contradict"),
        ([KeepBest("shade"), KeepBest("colour")], "two KeepBest, which contradict"),
        ([TWICE, TWICE], "one Scripted twice"),
        ([EarlyStopping("shade.eror")], r"no metric 'shade.eror'; there are colour.accuracy, shade.error, .*Did you mean shade.error"),
        ([KeepBest("loss")], "KeepBest: no metric 'loss'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_is_changed(callbacks: Any, said: str) -> None:
    problem = judged()
    before = weights(problem)
    with pytest.raises(ValueError, match=said):
        fit(problem, SoftThreshold(density=0.2), steps=2, callbacks=callbacks, progress=False)
    assert equal(before, weights(problem))
    assert not is_effective(problem.model)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: EarlyStopping("a.b", patience=0), "patience is 0"),
        (lambda: EarlyStopping("a.b", patience=2.5), "patience is 2.5"),  # pyright: ignore
        (lambda: EarlyStopping("a.b", min_delta=-1.0), "min_delta is -1.0"),
        (lambda: EarlyStopping(""), "metric is ''"),
        (lambda: KeepBest(3), "metric is 3"),  # pyright: ignore
        (lambda: EMA(1.0), "decay is 1.0"),
        (lambda: ClipGradients(), "exactly one"),
        (lambda: ClipGradients(1.0, 1.0), "exactly one"),
        (lambda: ClipGradients(0.0), "positive"),
        (lambda: ClipGradients(float("nan")), "positive"),
        (lambda: Snapshots("x", every=0), "every is 0"),
        (lambda: Snapshots("x", every=1, last=0), "last is 0"),
        (lambda: WarmUp(0.0), "share is 0.0"),
    ],
)
def test_settings_out_of_range(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_no_validation_data_and_no_metrics() -> None:
    full = judged()
    problem = Problem(full.model, full.tasks, full.train)
    with pytest.raises(ValueError, match=r"callback EarlyStopping and KeepBest looks? at validations.*val="):
        fit(problem, steps=2, callbacks=[EarlyStopping("shade"), KeepBest("shade")], progress=False)
    fit(problem, steps=2, callbacks=[EMA()], progress=False)
    with pytest.raises(ValueError, match="no metric 'shade'; the tasks have no metrics"):
        fit(two_heads(), steps=2, callbacks=[KeepBest("shade")], progress=False)


def test_validations_come_by_themselves_where_they_are_looked_at() -> None:
    history = fit(judged(), steps=40, callbacks=[KeepBest("shade")], progress=False)
    assert [row["step"] for row in history.rows if "val" in row] == list(range(2, 41, 2))
    history = fit(judged(), steps=4, callbacks=[EMA()], progress=False)
    assert not [row for row in history.rows if "val" in row]


HOOKS = ["start", "before_step", "after_step", "logged", "validating", "validated", "finish", "end"]


@pytest.mark.parametrize("hook", HOOKS)
def test_one_that_raises_is_named_and_the_model_is_plain(hook: str) -> None:
    problem, said = judged(), list[str]()

    def fail(self: Callback, *_: Any) -> None:
        raise KeyError("lost")

    broken = type("Broken", (Callback,), {hook: fail})()
    with pytest.raises(
        CallbackError, match=rf"Callback Broken raised in {hook}, after step \d: KeyError: 'lost'"
    ):
        fit(
            problem,
            SoftThreshold(density=0.2),
            steps=4,
            validate_every=2,
            callbacks=[Scripted(said), broken],
            progress=False,
        )
    assert not is_effective(problem.model)
    assert said[-1] == "failed CallbackError"
    fit(problem, SoftThreshold(density=0.2), steps=4, callbacks=[Scripted()], progress=False)


def test_interrupted_in_a_validation_the_weights_are_not_the_average() -> None:
    kept: dict[str, torch.Tensor] = {}

    class Interrupt(Callback):
        turn = -1

        def after_step(self, course: Course, losses: Any) -> None:
            kept.update({n: p.detach().clone() for n, p in course.problem.model.named_parameters()})

        def validated(self, course: Course, metrics: Any) -> None:
            raise KeyboardInterrupt

    problem = judged()
    with pytest.raises(KeyboardInterrupt):
        fit(problem, steps=6, validate_every=6, callbacks=[Interrupt(), EMA()], progress=False)
    now = dict(problem.model.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in kept.items())


def test_accumulated_batches_are_one_large_batch() -> None:
    """Of a loss that is a mean, without dropout and BatchNorm's batches: the same gradients."""
    one, two = judged(), judged()
    for problem in (one, two):
        problem.model.trunk[1], problem.model.trunk[3] = torch.nn.Identity(), torch.nn.Identity()
    pairs = list(one.train)
    joined = [
        (torch.cat([a, b]), {t: torch.cat([ta[t], tb[t]]) for t in ta})
        for (a, ta), (b, tb) in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    large = Problem(one.model, one.tasks, joined, one.val)
    fit(large, steps=3, progress=False)
    fit(two, epochs=1, accumulate=2, progress=False)
    for a, b in zip(large.model.parameters(), two.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_accumulation_and_an_aggregator() -> None:
    with pytest.raises(ValueError, match="accumulate is 2, and an aggregator"):
        fit(judged(), steps=2, accumulate=2, aggregator=lambda rows: rows.mean(0), progress=False)
    with pytest.raises(ValueError, match="accumulate is 0"):
        fit(judged(), steps=2, accumulate=0, progress=False)
    with pytest.raises(ValueError, match="accumulate is 0"):
        fit(judged(), epochs=2, accumulate=0, progress=False)


def test_the_rate_warms_up_and_goes_on_as_before() -> None:
    schedule = WarmUp(0.5, lambda progress: 2.0)
    assert [schedule(p) for p in (0.0, 0.25, 0.5, 1.0)] == [0.02, 1.0, 2.0, 2.0]
    history = fit(judged(), steps=10, schedule=WarmUp(0.5), log_every=1, progress=False)
    rates = [row["lr"] for row in history.rows]
    assert rates[:5] == sorted(rates[:5])
    assert rates[5:] == sorted(rates[5:], reverse=True)


def test_numbers_that_make_no_sense_and_optimizers_that_compute_the_loss_are_refused() -> None:
    problem = two_heads()
    before = {name: value.clone() for name, value in problem.model.state_dict().items()}
    with pytest.raises(ValueError, match="validate_every is -3"):
        fit(problem, steps=4, validate_every=-3, progress=False)
    told = "validate_every is 2, and the problem has no validation data"
    with pytest.raises(RemediedError, match=told) as refused:
        fit(Problem(problem.model, problem.tasks, problem.train), steps=4, validate_every=2, progress=False)
    assert refused.value.on_command_line.endswith("give data that have val, or leave --validate_every out.")
    with pytest.raises(ValueError, match="LBFGS computes the loss itself"):
        fit(
            problem,
            steps=4,
            optimizer=lambda groups: torch.optim.LBFGS([p for g in groups for p in g["params"]]),
            progress=False,
        )
    assert all(torch.equal(value, before[name]) for name, value in problem.model.state_dict().items())


def test_patience_that_outlasts_training_is_said() -> None:
    problem = judged()
    with pytest.warns(UserWarning, match="1 validations in 4 steps never outlast a patience of 5"):
        fit(problem, steps=4, validate_every=4, callbacks=[EarlyStopping("shade")], progress=False)
