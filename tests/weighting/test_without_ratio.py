"""Losses that are zero, next to nothing or constant: no ratio of theirs takes all the weight from the other tasks."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import pytest
import torch

from problems import two_heads
from secateur import AdaptiveWeighting, DynamicWeightAverage, MinMax, UncertaintyWeighting
from secateur.weighting import Weighting, adaptive_weights

OTHER = [2.0 + 0.3 * (7 * k % 5) for k in range(60)]


def last(weighting: Weighting, losses: list[float]) -> dict[str, float]:
    """The weights at the end, of colour with these losses, shade with those of ``OTHER``."""
    weighting.start(two_heads(), len(losses))
    given = dict[str, float]()
    for colour, shade in zip(losses, OTHER, strict=False):
        found = weighting({"colour": torch.tensor(colour), "shade": torch.tensor(shade)})
        given = {task: float(weight) for task, weight in found.items()}
    return given


@pytest.mark.parametrize("variant", ["paper", "code"])
@pytest.mark.parametrize("losses", [[0.0] * 60, [3.0] * 60, [1e-30] * 60], ids=["zero", "constant", "little"])
@pytest.mark.parametrize("window", [1, 12])
def test_what_does_not_change_weighs_one(losses: list[float], variant: str, window: int) -> None:
    found = last(AdaptiveWeighting(window=window, warmup=2, variant=variant), losses)  # type: ignore[arg-type]
    assert found == {"colour": 1.0, "shade": 1.0}


def test_it_has_no_part_in_the_weights_of_the_others() -> None:
    found = adaptive_weights(torch.tensor([0.1, 0.0, 0.3, torch.nan]), 2.0)
    assert found.tolist() == pytest.approx([4.0, 2.0, 4 / 3, 2.0])


def test_the_scale_of_a_loss_does_not_matter_however_small_it_is() -> None:
    losses = [1.0 + 0.2 * (3 * k % 4) for k in range(60)]
    one, small = (last(AdaptiveWeighting(window=12), [f * v for v in losses]) for f in (1.0, 1e-12))
    assert small == pytest.approx(one, rel=1e-4)
    assert small["colour"] != small["shade"]


def test_what_hardly_changes_takes_a_bounded_weight_and_is_said() -> None:
    losses = [1.0 + 1e-5 * (k % 2) for k in range(60)]
    with pytest.warns(UserWarning, match="loss of 'colour' hardly changes"):
        found = last(AdaptiveWeighting(window=12, warmup=2), losses)
    assert found["colour"] / found["shade"] == pytest.approx(200.0, rel=1e-3)  # 1/.01 over 1/2


@pytest.mark.parametrize("to", [0.0, 1e-9])
def test_the_published_code_gives_a_loss_that_vanishes_in_turns_a_ratio_of_two(to: float) -> None:
    losses = [1.0 if k % 2 else to for k in range(60)]
    found = last(AdaptiveWeighting(window=12, variant="code"), losses)  # changes of 2 and of 1 of themselves
    changes = [abs(a - b) / b for a, b in pairwise(OTHER)]
    assert found["colour"] / found["shade"] == pytest.approx(1.5 * len(changes) / sum(changes), rel=0.1)


@pytest.mark.parametrize(("before", "ratio"), [(0.0, 1.0), (1e-9, 10.0)])
def test_a_window_mean_of_nothing_leaves_dynamic_weights_to_the_others(before: float, ratio: float) -> None:
    weighting = DynamicWeightAverage(window=1)
    weighting.start(two_heads(), 3)
    for colour, shade in ((before, 2.0), (1.0, 1.0)):
        weighting({"colour": torch.tensor(colour), "shade": torch.tensor(shade)})
    found = weighting({"colour": torch.tensor(1.0), "shade": torch.tensor(1.0)})
    assert float(found["colour"] / found["shade"]) == pytest.approx(math.exp((ratio - 0.5) / 2))


def test_the_uncertainty_of_a_loss_of_zero_stays() -> None:
    weighting = UncertaintyWeighting()
    weighting.start(two_heads(), 10)
    losses = {"colour": torch.tensor(0.0), "shade": torch.tensor(0.5)}
    given = weighting(losses)
    (sum(given[t] * losses[t] for t in losses) + weighting.penalty()).backward()  # type: ignore[union-attr]
    (s,) = weighting.param_groups()[0]["params"]
    assert s.grad.tolist() == pytest.approx([0.0, 0.5])


def test_a_loss_of_zero_leaves_the_other_its_weight_in_min_max() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert last(MinMax(), [0.0] * 60) == {"colour": 1.0, "shade": 1.0}
