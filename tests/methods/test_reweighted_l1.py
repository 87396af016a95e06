"""Reweighted ℓ1: the penalty by hand, when its references are renewed, and what stays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from problems import two_heads
from secateur import AdaptiveWeighting, MinMax, Pruning, ReweightedL1, fit
from secateur.problem.components import prunable
from secateur.pruning import DensityError
from secateur.runs.config import build, parse, resolved


class Watch(ReweightedL1):
    """Remembers penalties, references and densities."""

    seen: list[tuple[float, Tensor | None]]

    def penalty(self) -> Tensor | float:
        found = super().penalty()
        before = self._references.get("colour.weight")
        self.seen.append((torch.as_tensor(found).item(), None if before is None else before.clone()))
        return found


def watched(steps: int, **options) -> tuple[Watch, list[tuple[float, Tensor | None]]]:
    method = Watch(0.2, **options)
    method.seen = []
    fit(two_heads(), method, steps=steps)
    return method, method.seen


def test_the_penalty_by_hand() -> None:
    problem, method = two_heads(), ReweightedL1(0.2, 0.01, ramp=(0.0, 0.5), eps=0.5)
    method.start(problem, 10)
    count = sum(w.numel() for w in prunable(problem.model).values())
    with torch.no_grad():
        for w in prunable(problem.model).values():
            w.fill_(-1.0)
    method._renew()
    with torch.no_grad():
        problem.model.colour.weight.fill_(0.25)
    value = method.penalty()
    rest = count - problem.model.colour.weight.numel()
    assert value.item() == pytest.approx(0.01 * (rest / 1.5 + (count - rest) * 0.25 / 1.5))
    value.backward()
    slope = problem.model.colour.weight.grad
    assert torch.allclose(slope, torch.full_like(slope, 0.01 / 1.5)), "away from the sign"
    assert float(problem.model.trunk[4].weight.grad[0, 0, 0, 0]) == pytest.approx(-0.01 / 1.5)


def test_references_are_renewed_at_30_and_60_percent_of_the_ramp() -> None:
    """Of 60 steps 20 are dense, 20 under the penalty, with references of steps 20, 26 and 32, and 20 under the mask."""
    _, seen = watched(60, strength=1e-4)
    assert [value == 0.0 for value, _ in seen] == [True] * 20 + [False] * 20 + [True] * 20
    assert all(before is None for _, before in seen[:20] + seen[40:])
    held = [before for _, before in seen[20:40]]
    new = [i for i in range(1, 20) if not torch.equal(held[i], held[i - 1])]  # type: ignore[arg-type]
    assert new == [6, 12]


def test_small_weights_are_pushed_and_large_ones_spared() -> None:
    """By the time of the cut the weights that go are smaller, beside those that stay, than without the penalty."""

    def gap(strength: float) -> float:
        problem, found = two_heads(width=32), []

        class Look(ReweightedL1):
            def _chosen(self) -> dict[str, Tensor]:
                chosen = super()._chosen()
                kept = torch.cat([w[chosen[n]].abs() for n, w in self.weights.items()])
                gone = torch.cat([w[~chosen[n]].abs() for n, w in self.weights.items()])
                found.append((gone.mean() / kept.mean()).item())
                return chosen

        fit(problem, Look(0.2, strength, ramp=(0.1, 0.7)), steps=60)
        return found[0]

    assert gap(1e-3) < 0.8 * gap(0.0)


def test_the_largest_stay_and_train_on() -> None:
    problem, at = two_heads(), {}

    class Look(ReweightedL1):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            weights = {n: w.detach().clone() for n, w in self.weights.items()} if step == 40 else {}
            super().after_step(step, optimizer)
            if weights:
                at.update({n: (w, self.masks.masks[n]) for n, w in weights.items()})

    fit(problem, Look(0.2), steps=60)
    kept = torch.cat([w[mask].abs() for w, mask in at.values()])
    gone = torch.cat([w[~mask].abs() for w, mask in at.values()])
    assert kept.min() >= gone.max()
    for name, w in prunable(problem.model).items():
        assert torch.equal(w != 0, at[name][1])
        assert not torch.equal(w[at[name][1]], at[name][0][at[name][1]])


def test_a_loss_of_the_callers_own_is_refused_from_the_first_step_on() -> None:
    problem = two_heads()
    with Pruning(problem, ReweightedL1(0.2), steps=9) as pruning:
        optimizer = pruning.attach(torch.optim.Adam(pruning.groups()))
        x, targets = problem.train[0]
        problem.tasks["colour"].loss(problem.model(x)["colour"], targets["colour"]).backward()
        optimizer.step()
        with pytest.raises(ValueError, match="ReweightedL1 is part of the loss"):
            pruning.step(own_loss=True)
        pruning.leave(early=True)


def test_the_recipes_are_what_they_are_called() -> None:
    for recipe, weighting, distribution in (
        ("reweighted_l1", AdaptiveWeighting, "global"),
        ("minmax", MinMax, "uniform"),
    ):
        config = resolved(parse([recipe, "--method.density", "0.05"]))
        method = build("method", config)
        assert isinstance(method, ReweightedL1)
        assert isinstance(build("weighting", config), weighting)
        assert (method.distribution, method.density, method.strength) == (distribution, 0.05, 1e-7)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"ramp": (0.5, 1.0)}, "end before 1"),
        ({"ramp": (0.6, 0.5)}, "0 <= start < end"),
        ({"strength": -1.0}, "strength of 0 or more"),
        ({"eps": 0.0}, "eps above 0"),
        ({"pattern": "4by1"}, "pattern is '4by1'"),
    ],
)
def test_bad_settings(bad: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ReweightedL1(0.1, **bad)


def test_a_density_out_of_reach_is_refused_before_training() -> None:
    with pytest.raises(DensityError, match=r"density is 0\.8"):
        fit(two_heads(), ReweightedL1(0.8, pattern="2:4"), steps=5)


def test_a_training_left_before_the_cut_has_its_density() -> None:
    problem, method = two_heads(), ReweightedL1(0.2)
    with Pruning(problem, method, steps=30) as pruning:
        pruning.leave(early=True)
    size = sum(w.numel() for w in prunable(problem.model).values())
    assert sum(int(w.count_nonzero()) for w in prunable(problem.model).values()) == round(0.2 * size)
