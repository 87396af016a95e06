"""A loss that is NaN or infinite, of a batch that the loop leaves out or a gradient scaler skips, spoils no weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import mse_loss

from problems import two_heads
from secateur import AdaptiveWeighting, DynamicWeightAverage, MinMax, Pruning, UncertaintyWeighting
from secateur.weighting import Weighting

MAKE: dict[str, Callable[[], Weighting]] = {
    "adaptive": lambda: AdaptiveWeighting(window=4, warmup=2),
    "adaptive_code": lambda: AdaptiveWeighting(window=4, warmup=2, variant="code"),
    "dynamic": lambda: DynamicWeightAverage(window=3),
    "min_max": lambda: MinMax(every=1, warmup=0.0),
}
EACH = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())


def feed(weighting: Weighting, steps: range, bad: dict[int, float]) -> list[dict[str, Any]]:
    """The weights at these steps; at those of ``bad`` colour's loss is that."""
    found = []
    for k in steps:
        colour, shade = 1.0 + 0.3 * (7 * k % 5), 2.0 + 0.1 * (3 * k % 4)
        given = weighting({"colour": torch.tensor(bad.get(k, colour)), "shade": torch.tensor(shade)})
        found.append({task: float(weight) for task, weight in given.items()})
    return found


@EACH
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_it_is_not_recorded(make: Callable[[], Weighting], value: float) -> None:
    weighting, plain = make(), make()
    for one in (weighting, plain):
        one.start(two_heads(), 40)
    found, good = feed(weighting, range(30), {11: value}), feed(plain, range(30), {})
    for weights, others in zip(found, good, strict=True):
        assert weights == pytest.approx(others, rel=0.4), "near those of a training without it"
    assert found[-1]["colour"] != 1.0


@EACH
def test_the_first_may_be_one(make: Callable[[], Weighting]) -> None:
    weighting = make()
    weighting.start(two_heads(), 40)
    found = feed(weighting, range(30), {0: float("nan")})
    assert all(0.0 <= weight <= 2.0 for weights in found for weight in weights.values())
    assert found[-1]["colour"] != 1.0


@EACH
def test_it_resumes_equal(make: Callable[[], Weighting]) -> None:
    straight, begun, resumed = (make() for _ in range(3))
    for one in (straight, begun, resumed):
        one.start(two_heads(), 40)
    bad = {0: float("nan"), 9: float("inf")}
    whole = feed(straight, range(24), bad)
    feed(begun, range(11), bad)
    resumed.load_state_dict(begun.state_dict())
    assert feed(resumed, range(11, 24), bad) == whole[11:]


@pytest.mark.parametrize("make", [*MAKE.values(), UncertaintyWeighting], ids=[*MAKE, "uncertainty"])
@pytest.mark.parametrize("scaled", [False, True], ids=["left_out", "scaler"])
def test_one_batch_costs_one_step(make: Callable[[], Weighting], scaled: bool) -> None:
    made, batch, stood = two_heads(), 0, 0
    tasks = {**made.tasks, "shade": replace(made.tasks["shade"], loss=mse_loss)}
    problem = replace(made, tasks=tasks)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8, enabled=scaled)
    with Pruning(problem, None, make(), steps=24) as pruning:
        optimizer = pruning.attach(torch.optim.Adam(pruning.groups(), lr=1e-3))
        while pruning.done < 24:
            x, targets = problem.train[batch % 6]
            if batch == 12:
                targets = {**targets, "shade": targets["shade"] * float("inf")}
            batch += 1
            loss = pruning.loss(problem.model(x), targets)
            if not scaled and not loss.isfinite():
                stood += 1
                continue
            scaler.scale(loss).backward()
            scale = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            stood += scaler.get_scale() < scale
            optimizer.zero_grad()
            pruning.step()
    assert stood == 1
