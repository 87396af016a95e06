"""GroupLasso: the published proximal step by hand, and the share asked for with a controlled λ."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from problems import TwoHeads, equal, tasks, two_heads, weights
from secateur.cost import count_macs
from secateur.fit import fit
from secateur.groups import Groups, input_groups, share
from secateur.methods import GroupLasso
from secateur.metrics import group_sparsity
from secateur.optimizer import adam
from secateur.problem import Problem
from secateur.prox import group_prox
from secateur.schedules import cubic_density

SHARED = ("trunk.0.weight", "trunk.4.weight")


def flat(progress: float) -> float:
    return 1.0


def shared(problem: Problem) -> dict[str, Tensor]:
    return {n: p.detach() for n, p in problem.model.named_parameters() if n in SHARED}


def kept(problem: Problem, of: str, groups: Groups | None = None) -> tuple[float, float]:
    """The share left of ``of``, and the most that one group takes."""
    groups = groups or input_groups(problem)
    named = {n: p.detach() for n, p in problem.model.named_parameters() if n in groups.axis}
    alive = groups.norms(named) > 0
    if of == "channels":
        return float(alive.double().mean()), 1 / groups.count
    macs = count_macs(problem.model, next(iter(problem.train))[0])
    costs = {n: float(p.numel() if of == "parameters" else macs[n]) for n, p in named.items()}
    largest = max(costs[n] / named[n].shape[groups.axis[n]] for n in costs) / sum(costs.values())
    return share(groups.kept_fraction(alive), costs), largest


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


@pytest.mark.parametrize("of", ["parameters", "macs", "channels"])
@pytest.mark.parametrize("metric", ["adaptive", "euclidean"])
@pytest.mark.parametrize("density", [0.7, 0.3, 0.15])
def test_the_share_asked_is_the_share_got(of: str, metric: str, density: float) -> None:
    problem = two_heads(width=40)
    fit(problem, GroupLasso(density=density, of=of, metric=metric), steps=40)  # type: ignore[arg-type]
    found, most = kept(problem, of)
    assert found <= density
    assert found > density - most


@pytest.mark.parametrize("level", [0.5, 0.2, 0.05, 0.01])
@pytest.mark.parametrize("metric", ["adaptive", "euclidean"])
def test_l1_is_exact(level: float, metric: str) -> None:
    problem = two_heads(width=40)
    fit(problem, GroupLasso(density=level, norm="l1", metric=metric), steps=40)  # type: ignore[arg-type]
    values = torch.cat([w.flatten() for w in shared(problem).values()])
    assert int(values.count_nonzero()) == round(level * values.numel())


def test_l1_by_hand_kills_weights_not_channels() -> None:
    problem = two_heads()
    fit(problem, GroupLasso(strength=1e-4, norm="l1"), steps=30, optimizer=adam(1e-2))
    found = group_sparsity(shared(problem).values())
    assert 0.05 < found.elements < 1.0
    assert found.groups < found.elements


@pytest.mark.parametrize("norm", ["group", "l1"])
def test_the_share_follows_the_schedule_and_the_survivors_are_spared(norm: str) -> None:
    problem, seen = two_heads(width=40), []

    class Watch(GroupLasso):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            before = {n: p.detach().clone() for n, p in self._weights.items()}
            super().after_step(step, optimizer)
            assert self.masks is not None
            left = sum(int(m.sum()) for m in self.masks.masks.values()) / sum(
                p.numel() for p in before.values()
            )
            seen.append((step, left))
            if step % 10 == 1 and 31 < step < 60:  # a prox without a cut
                changed = torch.cat([(p != before[n]).flatten() for n, p in self._weights.items()])
                assert 0 < int(changed.sum()) < left * changed.numel()

    ramp = (0.1, 0.8)
    method = Watch(density=0.3, ramp=ramp, norm=norm)  # type: ignore[arg-type]
    history = fit(problem, method, steps=200, log_every=10)
    for step, left in seen:
        if step % 10 == 0:
            aim = cubic_density(step / 200, 0.3, *ramp)
            assert aim - 1 / 40 <= left <= aim + 1e-4
    assert all(row["threshold"]["strength"] > 0 for row in history.rows if 20 < row["step"] < 100)
    assert history.rows[-1]["threshold"] == {}


def largest_cut(pressure: float) -> float:
    """Norm of the largest group that is cut at step 100, as a share of the largest of all."""
    found: list[float] = []

    class Watch(GroupLasso):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            before = self._groups.norms(shared(problem))
            super().after_step(step, optimizer)
            if self._level:
                self._level *= pressure
            if step == 100:
                gone = (self._groups.norms(shared(problem)) == 0) & (before > 0)
                found.append(float(before[gone].max() / before.max()))

    problem = two_heads(width=40)
    fit(problem, Watch(density=0.3), steps=200, optimizer=adam(3e-3))
    return found[0]


def test_the_penalty_makes_the_cut_gentle() -> None:
    assert largest_cut(1.0) < 0.7 * largest_cut(0.0)


def test_coupled_groups_take_rows_along() -> None:
    """A channel is a column of its consumers and a row of its producer; both go, to the share asked."""

    def make() -> tuple[Problem, Groups]:
        problem = two_heads(width=40)
        axis = dict.fromkeys(("trunk.0.weight", "trunk.4.weight"), 1)
        index = {"trunk.0.weight": torch.full((3,), -1), "trunk.4.weight": torch.arange(40)}
        return problem, Groups(40, axis, index, {"trunk.0.weight": torch.arange(40)})

    problem, groups = make()
    method = GroupLasso(density=0.4, groups=groups)
    fit(problem, method, steps=60)
    first, second = (shared(problem)[name] for name in SHARED)
    rows, columns = first.abs().amax((1, 2, 3)) > 0, second.abs().amax((0, 2, 3)) > 0
    assert torch.equal(rows, columns)
    assert 0 < int(rows.sum()) < 40
    left = float(first.count_nonzero() + second.count_nonzero()) / (first.numel() + second.numel())
    assert 0.4 - 1 / 40 - 1e-6 < left <= 0.4


def test_unreachable_density_says_what_is_reachable() -> None:
    with pytest.raises(ValueError, match=r"density is 0\.01, but the groups reach no less than 0\.1053"):
        fit(two_heads(), GroupLasso(density=0.01), steps=5)


def test_no_layer_dies_on_the_way() -> None:
    problem = two_heads()

    class Watch(GroupLasso):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            assert all(p.count_nonzero() for p in self._weights.values())

    fit(problem, Watch(density=0.11), steps=60)


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


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("norm", ["group", "l1"])
@pytest.mark.parametrize("metric", ["adaptive", "euclidean"])
def test_other_dtypes_and_partial_labels(dtype: torch.dtype, norm: str, metric: str) -> None:
    problem = two_heads(dtype=dtype, partial=True)
    fit(problem, GroupLasso(density=0.3, norm=norm, metric=metric), steps=40)  # type: ignore[arg-type]
    assert all(p.dtype == dtype for p in problem.model.parameters())
    values = torch.cat([w.flatten() for w in shared(problem).values()])
    left = float(values.count_nonzero()) / values.numel()
    assert left <= 0.3 + 0.5 / values.numel()
    if dtype == torch.float64:
        assert left > 0.3 - 1 / 16


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
    ):
        with pytest.raises(ValueError, match=message):
            GroupLasso(**options)  # type: ignore[arg-type]
    stranger = Groups(1, {"x": 1}, {"x": torch.tensor([0])}, {})
    with pytest.raises(ValueError, match=r"groups name \['x'\]"):
        fit(two_heads(), GroupLasso(strength=1.0, groups=stranger), steps=1)
