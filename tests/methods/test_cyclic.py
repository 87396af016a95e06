"""A density that falls several times: the schedule, that weights come back, and that it ends where it should."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from problems import two_heads
from secateur import GradualMagnitude, SoftThreshold, fit
from secateur.problem.components import prunable
from secateur.problem.problem import Problem
from secateur.pruning import cubic_density, cyclic_density
from secateur.runs.config import build, parse, resolved

shares = st.floats(0, 1)


@given(shares, st.floats(0.005, 1))
@settings(max_examples=40, deadline=None)
def test_one_cycle_is_the_cubic_schedule(progress: float, density: float) -> None:
    expected = cubic_density(progress, density, 0.1, 0.8)
    assert cyclic_density(progress, density, (0.1, 0.8), None, None) == expected
    assert cyclic_density(progress, density, (0.1, 0.8), 1, None) == expected


@given(shares, st.floats(0.005, 0.9), st.integers(2, 6), st.floats(0.05, 1))
@settings(max_examples=60, deadline=None)
def test_it_stays_in_bounds_and_ends_at_the_density(
    progress: float, density: float, cycles: int, rebound: float
) -> None:
    found = cyclic_density(progress, density, (0.1, 0.8), cycles, rebound)
    assert density <= found <= 1.0
    for done in (0.8, 0.9, 1.0):
        assert cyclic_density(done, density, (0.1, 0.8), cycles, rebound) == density
    assert cyclic_density(0.1, density, (0.1, 0.8), cycles, rebound) == 1.0


def test_by_hand() -> None:
    """Two cycles of 0.25, to a tenth: half of what is pruned, 0.45, comes back in between."""
    at = [cyclic_density(p, 0.1, (0.25, 0.75), 2, 0.5) for p in (0.0, 0.25, 0.375, 0.4999, 0.5, 0.625, 0.75)]
    assert at == pytest.approx([1.0, 1.0, 0.1 + 0.9 / 8, 0.1, 0.55, 0.1 + 0.45 / 8, 0.1], abs=1e-6)
    assert cyclic_density(0.5, 0.1, (0.25, 0.75), 2, None) == pytest.approx(0.1 + 0.9 * 0.3)


def size(problem: Problem) -> int:
    return sum(w.numel() for w in prunable(problem.model).values())


def places(problem: Problem) -> torch.Tensor:
    """Where the weights that layers compute with are not zero."""
    names = [n.rpartition(".")[0] for n in prunable(problem.model)]
    return torch.cat([problem.model.get_submodule(n).weight.detach().flatten() for n in names]) != 0


@pytest.mark.parametrize("rebound", [0.3, 1.0])
def test_thresholds_let_weights_back_at_the_scheduled_density(rebound: float) -> None:
    problem, seen = two_heads(), []

    class Watch(SoftThreshold):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            seen.append(places(problem))

    fit(problem, Watch(0.05, ramp=(0.0, 0.8), cycles=2, rebound=rebound), steps=50)
    for step, found in enumerate(seen, 1):
        due = cyclic_density(step / 50, 0.05, (0.0, 0.8), 2, rebound)
        assert abs(int(found.sum()) - due * size(problem)) < 3, step
    low, high, last = seen[18], seen[19], seen[-1]  # the second cycle begins with step 20
    assert int(high.sum()) > 3 * int(low.sum())
    assert (last & ~low).any(), "some that were pruned at the end of the first cycle are there in the end"
    assert int(prunable(problem.model)["trunk.4.weight"].count_nonzero()) > 0


def test_masks_let_weights_grow_again_from_zero() -> None:
    problem, seen = two_heads(), {}

    class Watch(GradualMagnitude):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            before = torch.cat([w.detach().flatten() for w in self.weights.values()])
            super().after_step(step, optimizer)
            mask = torch.cat([m.flatten() for m in self.masks.masks.values()])
            seen[step] = (mask, before, torch.cat([w.detach().flatten() for w in self.weights.values()]))

    method = Watch(0.1, ramp=(0.0, 0.8), every=4, cycles=2, rebound=0.5)
    fit(problem, method, steps=100, optimizer=lambda groups: torch.optim.Adam(groups, lr=0.03))
    counts = {step: int(mask.sum()) for step, (mask, _, _) in seen.items()}
    for step in (36, 44):
        due = cyclic_density(step / 100, 0.1, (0.0, 0.8), 2, 0.5)
        assert counts[step] == round(due * size(problem))
    assert counts[40] == size(problem), "all train for the four steps after the second cycle began"
    assert counts[80] == counts[100] == round(0.1 * size(problem))
    gone = ~seen[39][0]
    assert not seen[40][2][gone].any(), "from zero"
    assert seen[44][1][gone].any(), "and on"
    assert (seen[100][0] & gone).any(), "some of them stay"


@pytest.mark.parametrize("steps", [1, 2, 5, 11, 30])
@pytest.mark.parametrize("recipe", ["adapmtl_cyclic", "magnitude_cyclic"])
def test_the_recipes_end_exactly_at_99_percent_however_short(recipe: str, steps: int) -> None:
    problem = two_heads(width=40)
    method = build("method", resolved(parse([recipe, "--method.density", "0.01"])))
    assert method.cycles == 3
    fit(problem, method, steps=steps)
    assert sum(int(w.count_nonzero()) for w in prunable(problem.model).values()) == round(
        0.01 * size(problem)
    )


@pytest.mark.parametrize("cycles", [2, 5])
def test_components_with_densities_of_their_own_come_to_the_whole_on_the_way(cycles: int) -> None:
    """Nothing is left out on the way, though every density is named: as many prunings as without quotas."""
    counts = []
    for distribution in ("global", {"backbone": 0.1, "colour": 0.1, "shade": 0.1}):
        problem, seen = two_heads(), []

        class Watch(GradualMagnitude):
            def after_step(self, step: int, optimizer: torch.optim.Optimizer, seen: list = seen) -> None:
                super().after_step(step, optimizer)
                seen.append(sum(int(mask.sum()) for mask in self.masks.masks.values()))

        fit(problem, Watch(0.1, every=2, cycles=cycles, distribution=distribution), steps=40)  # type: ignore[arg-type]
        counts.append(seen)
    assert counts[0] == pytest.approx(counts[1], abs=3)


@pytest.mark.parametrize("make", [SoftThreshold, GradualMagnitude])
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"cycles": 0}, "cycles is 0; the density falls at least once"),
        ({"cycles": 2, "rebound": 0.0}, r"rebound is 0\.0"),
        ({"cycles": 2, "rebound": 1.5}, r"rebound is 1\.5"),
        ({"rebound": 0.5}, "rebound is .* at least 2 cycles"),
    ],
)
def test_bad_settings(make: type, bad: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(0.1, **bad)
