"""RigL and SET: what goes, what comes, and that the density never moves."""

from __future__ import annotations

import math

import pytest
import torch

from problems import two_heads, weights
from secateur import RigL, fit
from secateur.problem.components import prunable
from secateur.pruning.distribution import erk
from secateur.pruning.regrowth import drop_share, dropped, top


class Watch(RigL):
    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        old = {n: m.clone() for n, m in self.masks.masks.items()}
        before = {n: p.detach().clone() for n, p in self.weights.items()}
        gradients = dict(self._gradients)
        super().after_step(step, optimizer)
        after = {n: p.detach().clone() for n, p in self.weights.items()}
        self.__dict__.setdefault("seen", []).append((old, before, gradients, self.masks.masks, after))


def test_shares_and_masks_by_hand() -> None:
    assert drop_share(0.0, 0.3) == 0.3
    assert drop_share(0.5, 0.3) == pytest.approx(0.15)
    assert drop_share(1.0, 0.3) == drop_share(2.0, 0.3) == 0.0
    mask = torch.tensor([True, True, True, False])
    assert dropped(torch.tensor([-3.0, 1.0, 2.0, 9.0]), mask, 1).tolist() == [True, False, True, False]
    assert top(torch.tensor([1.0, 5.0, 5.0, 7.0]), 2, mask).tolist() == [False, True, True, False]
    assert top(torch.tensor([1.0, 5.0]), 3, torch.tensor([True, False])).tolist() == [True, False]


def test_drops_the_smallest_and_grows_where_the_dense_gradient_is_largest() -> None:
    problem, method = two_heads(width=32), Watch(0.2, every=5)
    fit(problem, method, steps=20)
    old, before, gradients, new, after = method.seen[4]
    share = 0.15 * (1 + math.cos(math.pi * 5 / 15))
    for name, mask in old.items():
        gone, come = mask & ~new[name], new[name] & ~mask
        assert int(new[name].sum()) == int(mask.sum()), name
        if gone.any():
            assert float(before[name][gone].abs().max()) <= float(before[name][mask & new[name]].abs().max())
        moved = round(share * int(mask.sum()))
        smallest = before[name][mask].abs().sort().values[:moved]
        assert moved == 0 or float(before[name][gone].abs().sum()) <= float(smallest.sum()) + 1e-6
        if come.any():
            left = ~new[name] & ~mask
            assert float(gradients[name][come].min()) >= float(gradients[name][left].max())
            assert not after[name][come].any(), "what is grown begins at zero"
    assert any((new[n] != old[n]).any() for n in old)
    assert all(not found[2] for i, found in enumerate(method.seen) if (i + 1) % 5), (
        "gradients are kept only when due"
    )


@pytest.mark.parametrize("grow", ["gradient", "random"])
def test_layers_keep_their_erk_densities_throughout(grow: str) -> None:
    problem, method = two_heads(width=32), Watch(0.2, grow, every=2)
    fit(problem, method, steps=20)
    shares = erk({n: tuple(p.shape) for n, p in prunable(problem.model).items()}, 0.2)
    for found in method.seen:
        for name, mask in found[3].items():
            assert abs(int(mask.sum()) - shares[name] * mask.numel()) <= 1
    changed = [any((f[0][n] != f[3][n]).any() for n in f[0]) for f in method.seen]
    assert changed[1]
    assert not any(changed[14:]), "after three quarters the masks stay"


def test_hooks_are_gone_and_a_skipped_step_does_no_harm() -> None:
    problem, optimizers = two_heads(), []

    def make(groups: list) -> torch.optim.Optimizer:
        optimizers.append(torch.optim.Adam(groups, lr=1e-3))
        return optimizers[-1]

    method = RigL(0.2, every=2)
    fit(problem, method, steps=10, optimizer=make)
    assert not optimizers[0]._optimizer_step_pre_hooks
    assert not optimizers[0]._optimizer_step_post_hooks
    fresh = RigL(0.2, every=2)
    fresh.start(two_heads(), 10)
    masks = {n: m.clone() for n, m in fresh.masks.masks.items()}
    fresh.after_step(2, optimizers[0])  # due, but no gradient was seen: the scaler skipped the step
    assert all(torch.equal(masks[n], m) for n, m in fresh.masks.masks.items())


def test_random_growth_differs_by_seed_and_not_by_run() -> None:
    made = []
    for seed in (0, 0, 1):
        problem = two_heads()
        fit(problem, RigL(0.2, "random", every=2, seed=seed), steps=10)
        made.append(weights(problem))
    assert all(torch.equal(made[0][n], made[1][n]) for n in made[0])
    assert any(not torch.equal(made[0][n], made[2][n]) for n in made[0])


@pytest.mark.parametrize(
    "settings",
    [{"grow": "magic"}, {"every": 0}, {"drop": 1.0}, {"until": -0.1}, {"distribution": "component"}],
)
def test_bad_settings(settings: dict) -> None:
    with pytest.raises(ValueError, match=r"choose|at least 1|share of|fixes"):
        RigL(0.1, **settings)
