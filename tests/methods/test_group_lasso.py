"""GroupLasso: the published proximal step by hand, and what it needs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lasso_groups import SHARED, kept, shared
from problems import TwoHeads, equal, tasks, two_heads, weights
from secateur.measures.metrics import group_sparsity
from secateur.methods import GroupLasso
from secateur.problem.problem import Problem
from secateur.pruning.groups import Groups, input_groups
from secateur.pruning.prox import group_prox
from secateur.training.fit import fit
from secateur.training.optimizer import adam


def flat(progress: float) -> float:
    return 1.0


def test_one_step_by_hand() -> None:
    """Published: u = p − a·m/D, then the prox in D with κ = lr·λ·√n; wd 0 and torch's eps made equal."""
    problem, strength, rate = two_heads(), 3e-4, 1e-2
    before = {n: p.clone() for n, p in shared(problem).items()}
    seen: dict[str, Tensor] = {}

    class Watch(GroupLasso):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            seen.update({n: p.detach().clone() for n, p in self._weights.items()})
            seen.update({f"v {n}": optimizer.state[p]["exp_avg_sq"] for n, p in self._weights.items()})
            super().after_step(step, optimizer)

    fit(problem, Watch(strength=strength), steps=1, optimizer=adam(rate), schedule=flat)
    groups, after = input_groups(problem), shared(problem)
    metric = {n: seen[f"v {n}"].sqrt() + 1e-6 for n in SHARED}
    sizes = torch.cat([torch.full((3,), 16.0 * 9), torch.full((16,), 16.0 * 9)])
    wanted = group_prox({n: seen[n] for n in SHARED}, metric, rate * strength * sizes.sqrt(), groups)
    dead = 0
    for name in SHARED:
        torch.testing.assert_close(after[name], wanted[name], rtol=1e-6, atol=0.0)
        assert not torch.equal(seen[name], before[name])
        assert (after[name].abs() <= seen[name].abs()).all()
        dead += int((after[name].abs().amax((0, 2, 3)) == 0).sum())
    assert 0 <= dead < 19


@pytest.mark.parametrize("metric", ["adaptive", "euclidean"])
def test_more_strength_more_zeros_and_they_are_whole_channels(metric: str) -> None:
    found = []
    for strength in (1e-7, 1e-2, 1e3):
        problem = two_heads()
        fit(problem, GroupLasso(strength=strength, metric=metric), steps=30, optimizer=adam(1e-2))  # type: ignore[arg-type]
        sparsity = group_sparsity(shared(problem).values())
        assert sparsity.elements == pytest.approx(sparsity.parameters)
        found.append(sparsity.groups)
    assert found[0] == 0.0
    assert found[2] == 1.0
    assert found == sorted(found)


def test_a_dead_group_may_come_back_by_hand() -> None:
    """As published: the prox decides at every step."""
    problem, history = two_heads(), []

    class Watch(GroupLasso):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            self._level = 1e-2 if step < 5 else 1e-9
            history.append(group_sparsity(shared(problem).values()).groups)

    fit(problem, Watch(strength=1e-2), steps=12, optimizer=adam(1e-2))
    assert max(history) > 0.1
    assert history[-1] < max(history)


@pytest.mark.parametrize("make", [lambda: GroupLasso(strength=0.0), lambda: GroupLasso(density=1.0)])
def test_nothing_asked_is_dense_to_the_bit(make: Callable[[], GroupLasso]) -> None:
    dense, same = two_heads(), two_heads()
    fit(dense, steps=12)
    fit(same, make(), steps=12)
    assert equal(weights(dense), weights(same))


def test_the_adaptive_metric_needs_adam() -> None:
    def sgd(groups: list) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=1e-2)

    with pytest.raises(
        ValueError, match="needs the moments of Adam, and SGD has none; choose metric='euclidean'"
    ):
        fit(two_heads(), GroupLasso(strength=1e-5), steps=2, optimizer=sgd)
    with pytest.raises(ValueError, match=r"decay 0\.1 is decoupled, which SGD does not know"):
        fit(two_heads(), GroupLasso(strength=1e-5, metric="euclidean", decay=0.1), steps=2, optimizer=sgd)


def test_decay_is_decoupled_and_of_all_parameters() -> None:
    mine, theirs = two_heads(), two_heads()
    fit(mine, GroupLasso(strength=0.0, decay=0.1), steps=8, optimizer=adam(1e-2))
    fit(theirs, steps=8, optimizer=lambda g: torch.optim.AdamW(g, lr=1e-2, weight_decay=0.1, fused=True))
    assert equal(weights(mine), weights(theirs))


def test_skipped_first_steps_break_nothing() -> None:
    """A gradient scaler may skip steps; the moments do not exist then."""
    problem = two_heads()
    method = GroupLasso(density=0.5)
    method.start(problem, 10)
    optimizer = adam()([*method.param_groups()])
    method.bind(optimizer)
    before = weights(problem)
    for step in range(1, 4):
        method.after_step(step, optimizer)
    assert equal(before, weights(problem))
    method.finish()
    assert kept(problem, "parameters")[0] <= 0.5


def test_warmup_and_correction() -> None:
    dense, waiting, begun = two_heads(), two_heads(), two_heads()
    fit(dense, steps=6, schedule=flat)
    fit(waiting, GroupLasso(strength=1.0, metric="euclidean", warmup=6), steps=6, schedule=flat)
    fit(begun, GroupLasso(strength=1.0, metric="euclidean", warmup=5), steps=6, schedule=flat)
    assert equal(weights(dense), weights(waiting))
    assert not equal(weights(dense), weights(begun))
    found = []
    for correct in (False, True):
        problem = two_heads()
        fit(problem, GroupLasso(strength=1e-3, bias_correct_prox=correct), steps=10, optimizer=adam(1e-2))
        found.append(float(torch.cat([w.flatten() for w in shared(problem).values()]).norm()))
    assert found[0] < found[1]  # early D is too small


def test_nothing_is_read_back_in_a_step_by_hand() -> None:
    """On the meta device, where nothing has a value, a read would fail."""
    with torch.device("meta"):
        model = TwoHeads()
    method = GroupLasso(strength=1e-5, groups=input_groups(two_heads()))
    method.start(Problem(model, tasks(), two_heads().train), 10)
    optimizer = torch.optim.Adam(method.param_groups(), foreach=False)
    method.bind(optimizer)
    for p in method._weights.values():
        optimizer.state[p] = {
            "step": torch.tensor(1.0),
            "exp_avg": torch.zeros_like(p),
            "exp_avg_sq": torch.zeros_like(p),
        }
    method.after_step(1, optimizer)


def test_bad_settings() -> None:
    for options, message in (
        ({}, "density None, strength None; give exactly one"),
        ({"density": 0.5, "strength": 1.0}, "give exactly one"),
        ({"density": 0.0}, "density is 0.0"),
        ({"strength": -1.0}, "strength -1.0"),
        ({"strength": 1.0, "eps": 0.0}, "eps 0.0 positive"),
        ({"density": 0.5, "ramp": (0.5, 0.2)}, "ramp is"),
        ({"density": 0.5, "of": "macs", "norm": "l1"}, "of is 'macs', but norm 'l1'"),
        ({"density": 0.5, "groups": "all"}, "groups is 'all', but norm 'group'"),
    ):
        with pytest.raises(ValueError, match=message):
            GroupLasso(**options)  # type: ignore[arg-type]
    stranger = Groups(1, {"x": 1}, {"x": torch.tensor([0])}, {})
    with pytest.raises(ValueError, match=r"groups name \['x'\]"):
        fit(two_heads(), GroupLasso(strength=1.0, groups=stranger), steps=1)


class OneTask(nn.Module):
    """No convolution that several tasks share, because there is one task, and linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 32), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"colour": self.last(self.first(x.mean((2, 3))).relu())}


def test_where_nothing_is_shared_whole_channels_go_by_default() -> None:
    batches = [(x, {"colour": t["colour"][:, 0, 0]}) for x, t in two_heads().train]
    problem = Problem(OneTask(), {"colour": tasks()["colour"]}, batches)
    fit(problem, GroupLasso(density=0.3), steps=20)
    dead = (problem.model.get_parameter("last.weight") == 0).all(0)
    assert int(dead.sum()) >= 22
    assert torch.equal(dead, (problem.model.get_parameter("first.weight") == 0).all(1))
    with pytest.raises(ValueError, match="no convolution that several tasks share"):
        fit(problem, GroupLasso(density=0.3, groups="input"), steps=20)
