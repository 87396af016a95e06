"""GroupLasso to a density: the share asked for with a controlled λ, of groups and of single weights."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from lasso_groups import SHARED, kept, shared
from problems import two_heads
from secateur.measures.metrics import group_sparsity
from secateur.methods import GroupLasso
from secateur.problem import Task
from secateur.problem.components import prunable
from secateur.problem.problem import Problem
from secateur.pruning.groups import Groups
from secateur.pruning.schedules import cubic_density
from secateur.runs.config import build, parse, resolved
from secateur.shrinking import compact
from secateur.training.fit import fit
from secateur.training.optimizer import adam


@pytest.mark.parametrize("of", ["parameters", "macs", "channels"])
@pytest.mark.parametrize("metric", ["adaptive", "euclidean"])
@pytest.mark.parametrize("density", [pytest.param(0.7, marks=pytest.mark.slow), 0.3, 0.15])
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
    fit(problem, GroupLasso(density=level, norm="l1", groups="input", metric=metric), steps=40)  # type: ignore[arg-type]
    values = torch.cat([w.flatten() for w in shared(problem).values()])
    assert int(values.count_nonzero()) == round(level * values.numel())


@pytest.mark.parametrize("steps", [2, 9])
def test_a_ramp_that_ends_between_two_steps_ends_at_the_density(steps: int) -> None:
    problem = two_heads()
    fit(problem, GroupLasso(density=0.2, norm="l1"), steps=steps)
    values = torch.cat([p.flatten() for p in prunable(problem.model).values()])
    assert int(values.count_nonzero()) == round(0.2 * values.numel())
    problem = two_heads(width=40)
    fit(problem, GroupLasso(density=0.2), steps=steps)
    assert kept(problem, "parameters")[0] <= 0.2


def test_l1_by_hand_kills_weights_not_channels() -> None:
    problem = two_heads()
    fit(problem, GroupLasso(strength=1e-4, norm="l1", groups="input"), steps=30, optimizer=adam(1e-2))
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
    method = Watch(density=0.3, ramp=ramp, norm=norm, groups="input")  # type: ignore[arg-type]
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("norm", ["group", "l1"])
@pytest.mark.parametrize("metric", ["adaptive", "euclidean"])
def test_other_dtypes_and_partial_labels(dtype: torch.dtype, norm: str, metric: str) -> None:
    problem = two_heads(width=40, dtype=dtype, partial=True)
    fit(problem, GroupLasso(density=0.3, norm=norm, groups="input", metric=metric), steps=40)  # type: ignore[arg-type]
    assert all(p.dtype == dtype for p in problem.model.parameters())
    values = torch.cat([w.flatten() for w in shared(problem).values()])
    left = float(values.count_nonzero()) / values.numel()
    assert left <= 0.3 + 0.5 / values.numel()
    if dtype == torch.float64:
        assert left > 0.3 - 1 / 16


@pytest.mark.parametrize("level", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("metric", ["adaptive", "euclidean"])
def test_l1_reaches_every_prunable_weight(level: float, metric: str) -> None:
    problem = two_heads(width=40)
    fit(problem, GroupLasso(density=level, norm="l1", metric=metric), steps=40)  # type: ignore[arg-type]
    left = {n: int(p.count_nonzero()) for n, p in prunable(problem.model).items()}
    assert sum(left.values()) == round(level * sum(p.numel() for p in prunable(problem.model).values()))
    assert min(left.values()) >= 1
    assert left["shade.0.weight"] < 320, "heads too"


def test_the_recipe_of_l1_prunes_all_and_that_of_less_is_more_what_is_shared() -> None:
    for recipe, named in (
        ("l1", {"colour.weight", "shade.0.weight", "shade.2.weight"}),
        ("less_is_more_l1", set()),
    ):
        problem = two_heads(width=40)
        method = build("method", resolved(parse([recipe, "--method.density", "0.1"])))
        fit(problem, method, steps=20)
        assert set(method._weights) == {*SHARED, *named}
        left = sum(int(p.count_nonzero()) for p in method._weights.values())
        assert left == round(0.1 * sum(p.numel() for p in method._weights.values()))


def test_too_few_for_every_layer() -> None:
    with pytest.raises(ValueError, match=r"density is 0.001; with at least 1 weights a layer it can be from"):
        fit(two_heads(), GroupLasso(density=0.001, norm="l1"), steps=2)


@pytest.mark.parametrize(("density", "warns"), [(0.7, False), (0.9, True)])
def test_groups_that_are_too_large_for_the_density_are_spared_or_named(density: float, warns: bool) -> None:
    """The weakest group ties nearly half of the weights, and others can die in its place; of two groups none can."""
    problem = two_heads(width=40)
    axis: dict[str, int] = dict.fromkeys(SHARED, 1)
    tied = torch.arange(40).sub(17).clamp(0, 1 if warns else 40)
    index = dict(zip(axis, (torch.full((3,), -1), tied), strict=True))
    groups = Groups(int(tied.max()) + 1, axis, index, {})
    with torch.no_grad():
        problem.model.get_parameter("trunk.4.weight")[:, tied == 0] *= 0.01  # the weakest
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fit(problem, GroupLasso(density=density, groups=groups), steps=40)
    shown = [str(w.message) for w in said if "whole groups go" in str(w.message)]
    first, second = (shared(problem)[name] for name in SHARED)
    left = float(first.count_nonzero() + second.count_nonzero()) / (first.numel() + second.numel())
    assert left <= density
    assert (left < 0.9 * density) == bool(shown) == warns, (left, shown)


def test_a_complex_layer_and_what_it_reads_stay_whole() -> None:
    class Spectral(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.Linear(6, 12), nn.Linear(12, 12)
            self.mixed = nn.Linear(12, 12, dtype=torch.complex64)
            self.shade = nn.Linear(12, 1)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            z = self.mixed(torch.fft.fft(self.before(x).relu())).abs()
            return {"shade": self.shade(self.after(z).relu())}

    torch.manual_seed(0)
    data = [(torch.randn(4, 6), {"shade": torch.randn(4, 1)}) for _ in range(6)]
    model = Spectral()
    with pytest.warns(UserWarning, match="complex"):
        fit(
            Problem(model, {"shade": Task(nn.functional.l1_loss)}, data),
            GroupLasso(density=0.7, groups="coupled"),
            steps=40,
        )
    small = compact(model, data[0][0])
    assert small.mixed.weight.shape == (12, 12)
    assert small.after.weight.shape[0] < 12
    x = torch.randn(3, 6)
    torch.testing.assert_close(small.eval()(x), model.eval()(x))
    with torch.no_grad():
        model.mixed.weight.real.zero_()  # not dead: the other half is there
        model.mixed.bias.zero_()
    torch.testing.assert_close(compact(model, x).eval()(x), model.eval()(x))
