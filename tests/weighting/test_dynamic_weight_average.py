"""Dynamic weight average, Eq. 7, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from problems import two_heads
from secateur import DynamicWeightAverage, fit


def step(weighting: DynamicWeightAverage, **losses: float) -> dict[str, float]:
    return {t: float(w) for t, w in weighting({t: torch.tensor(v) for t, v in losses.items()}).items()}


def test_a_slow_task_weighs_more() -> None:
    weighting = DynamicWeightAverage(window=2)
    weighting.start(two_heads(), 100)
    for colour in (4.0, 2.0, 2.0, 1.0):  # means 3, then 1.5
        found = step(weighting, colour=colour, shade=1.0)
        assert found == {"colour": 1.0, "shade": 1.0}, "two windows are needed"
    found = step(weighting, colour=1.0, shade=1.0)
    a, b = math.exp(0.5 / 2), math.exp(1.0 / 2)
    assert found["colour"] == pytest.approx(2 * a / (a + b))
    assert found["shade"] == pytest.approx(2 * b / (a + b))
    assert sum(found.values()) == pytest.approx(2.0)


def test_a_task_that_is_missing_keeps_its_means() -> None:
    weighting = DynamicWeightAverage(window=1)
    weighting.start(two_heads(), 100)
    step(weighting, colour=2.0, shade=2.0)
    step(weighting, colour=1.0, shade=1.0)
    both = step(weighting, colour=1.0)
    later = step(weighting, colour=1.0, shade=1.0)
    assert set(both) == {"colour"}
    a, b = math.exp(1.0 / 2), math.exp(0.5 / 2)  # colour stands still, shade fell by half when last seen
    assert later["colour"] == pytest.approx(2 * a / (a + b))
    assert later["shade"] == pytest.approx(2 * b / (a + b))


def test_it_resumes_exactly() -> None:
    one, two = DynamicWeightAverage(window=3), DynamicWeightAverage(window=3)
    one.start(two_heads(), 100)
    two.start(two_heads(), 100)
    draw = torch.Generator().manual_seed(0)
    losses = torch.rand(20, 2, generator=draw).tolist()
    for colour, shade in losses[:11]:
        step(one, colour=colour, shade=shade)
    two.load_state_dict(one.state_dict())
    for colour, shade in losses[11:]:
        assert step(one, colour=colour, shade=shade) == step(two, colour=colour, shade=shade)


def test_it_trains() -> None:
    rows = fit(two_heads(), weighting=DynamicWeightAverage(window=4), steps=20, log_every=1).rows
    assert rows[3]["weight"] == {"colour": 1.0, "shade": 1.0}
    assert rows[-1]["weight"]["colour"] != 1.0


@pytest.mark.parametrize("settings", [{"window": 0}, {"temperature": 0.0}, {"temperature": math.nan}])
def test_bad_settings(settings: dict) -> None:
    with pytest.raises(ValueError, match=r"at least 1|above 0|finite"):
        DynamicWeightAverage(**settings)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_window_has_the_mean_of_its_finite_losses(value: float) -> None:
    weighting = DynamicWeightAverage(window=3)
    weighting.start(two_heads(), 100)
    for colour in (4.0, value, 2.0, 2.0, 1.0, value):  # means 3, then 1.5
        step(weighting, colour=colour, shade=1.0)
    found = step(weighting, colour=value, shade=1.0)
    a, b = math.exp(0.5 / 2), math.exp(1.0 / 2)
    assert found["colour"] == pytest.approx(2 * a / (a + b))
