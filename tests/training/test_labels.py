"""Batches that lack labels, in all the ways in which they do; tasks that take turns; and what is said of an optimizer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from problems import equal, ignoring, masked, spoilt, tasks, two_heads, weights
from secateur import (
    AdaptiveWeighting,
    Dense,
    DynamicWeightAverage,
    MinMax,
    OneShot,
    Problem,
    Pruning,
    RigL,
    SoftThreshold,
    Task,
    UncertaintyWeighting,
    fit,
)
from secateur.training import Pruning as Trained


def by_mask(prediction: Tensor, target: Tensor) -> Tensor:
    valid = (target > -1e3).float()
    return ((prediction - target).abs() * valid).sum() / valid.sum()


LOSSES = {"chosen": masked, "multiplied": by_mask}

MISSING = {1: ("shade",), 3: ("colour",), 4: ("colour",)}


@pytest.mark.parametrize("how", ["None", "ignored", "empty"])
@pytest.mark.parametrize(
    "weighting",
    [
        AdaptiveWeighting,
        MinMax,
        *(pytest.param(w, marks=pytest.mark.slow) for w in (UncertaintyWeighting, DynamicWeightAverage)),
    ],
    ids=lambda w: w.__name__,
)
@pytest.mark.parametrize("loss", LOSSES)
def test_labels_that_are_all_ignored_are_as_good_as_left_out(how: str, weighting: Any, loss: str) -> None:
    made, rows = [], []
    for kind in ("left out", how):
        problem = two_heads()
        own = Problem(problem.model, ignoring(LOSSES[loss]), spoilt(problem.train, MISSING, kind))
        history = fit(own, SoftThreshold(0.2), weighting(), steps=20, log_every=5)
        made.append(weights(own))
        rows.append([(row["loss"], row["weight"]) for row in history.rows])
    assert equal(*made)
    assert rows[0] == rows[1]
    assert history.ignored == ({"colour": 6, "shade": 4} if how == "ignored" else {})
    assert history.skipped == 0


@pytest.mark.parametrize("how", ["left out", "None", "ignored", "empty"])
def test_a_batch_without_any_label_is_no_step(how: str) -> None:
    problem, whole = two_heads(), two_heads()
    both = ("colour", "shade")
    data = spoilt([*problem.train[:2], *problem.train[:1], *problem.train[2:]], {2: both}, how)
    torch.manual_seed(0)
    for own, train in ((problem, data), (whole, whole.train)):
        own.model.trunk[3].p = 0.0  # dropout draws for each batch that the model sees
        for module in (own.model.trunk[1],):
            module.momentum = 0.0  # and BatchNorm counts them
        history = fit(
            Problem(own.model, ignoring(), train), SoftThreshold(0.2), AdaptiveWeighting(), steps=18
        )
        assert history.skipped == (3 if own is problem else 0)
    assert equal(dict(problem.model.named_parameters()), dict(whole.model.named_parameters()))


def test_an_epoch_without_labels_is_an_error() -> None:
    problem = two_heads()
    nowhere = dict.fromkeys(range(6), ("shade",))
    for how in ("None", "left out"):
        with pytest.raises(ValueError, match=r"No training batch has a target for \['shade'\]"):
            fit(Problem(problem.model, tasks(), spoilt(problem.train, nowhere, how)), steps=20)
    own = Problem(problem.model, ignoring(), spoilt(problem.train, nowhere, "ignored"))
    with pytest.raises(ValueError, match="Every label of task 'shade' was ignored in the first 6 batches"):
        fit(own, SoftThreshold(0.2), steps=20)
    nowhere = dict.fromkeys(range(6), ("colour", "shade"))
    own = Problem(problem.model, ignoring(), spoilt(problem.train, nowhere, "ignored"))
    for method in (SoftThreshold(0.2), OneShot(0.2, "snip")):
        with pytest.raises(ValueError, match="label"):
            fit(own, method, steps=20)


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, t: (p - p.detach().abs() - 1).sqrt().mean(),  # the root of something negative
        lambda p, t: (p / (p - p)).mean(),
        F.l1_loss,  # of targets some of which are no numbers
    ],
)
def test_a_true_nan_is_an_error(loss: Any) -> None:
    problem = two_heads()
    data = [(x, {**t, "shade": t["shade"].clone()}) for x, t in problem.train]
    data[2][1]["shade"][0, 0, 0, 0] = torch.nan
    own = Problem(problem.model, {**problem.tasks, "shade": Task(loss)}, data)
    with pytest.raises((FloatingPointError, ValueError), match="'shade'"):
        fit(own, steps=20, log_every=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: OneShot(0.2, "snip", batches=2),
        lambda: OneShot(0.2, "taylor", batches=2),
        lambda: RigL(0.2),
        Dense,
    ],
    ids=["snip", "taylor", "rigl", "dense"],
)
def test_methods_judge_by_labels_that_are_valid(make: Any) -> None:
    """The first batch has none of one task's, or none at all."""
    for missing in (("shade",), ("colour", "shade")):
        problem = two_heads()
        data = spoilt(problem.train, {0: missing}, "ignored")
        fit(Problem(problem.model, ignoring(), data), make(), steps=8)
        assert all(p.isfinite().all() for p in problem.model.parameters())


def test_an_own_loop_goes_through_batches_without_labels() -> None:
    problem = two_heads()
    data = spoilt(problem.train, {0: ("colour", "shade"), 2: ("shade",)}, "ignored")
    own = Problem(problem.model, ignoring(), data)
    weighting = AdaptiveWeighting()
    with Pruning(own, SoftThreshold(0.2), weighting, steps=6) as pruning:
        optimizer = pruning.attach(torch.optim.SGD(pruning.groups(), lr=1e-2))
        for x, targets in data:
            loss = pruning.loss(own.model(x), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            pruning.step()
    assert (pruning.labels.skipped, pruning.labels.ignored) == (1, {"colour": 1, "shade": 2})
    assert weighting.state_dict()["seen"] == {"colour": 5, "shade": 4}
    assert Trained is Pruning
