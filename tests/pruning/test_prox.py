"""The proximal maps solve what they claim to (oracle T6)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from secateur.pruning.groups import Groups
from secateur.pruning.prox import adam_metric, euclidean_prox, group_prox, l1_prox

SHAPES = {"conv": (7, 5, 3, 3), "linear": (6, 4), "last": (5, 3, 2)}


def groups() -> Groups:
    """Eight groups over three weights and both axes; one index and most of ``last`` belong to none."""
    axis = {"conv": 1, "linear": 1, "last": 0}
    index = {
        "conv": torch.tensor([0, 1, 2, -1, 3]),
        "linear": torch.tensor([4, 0, 5, 6]),
        "last": torch.tensor([1, 7, -1, 7, -1]),
    }
    return Groups(8, axis, index, {})


def point(seed: int, spread: float = 2.0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """u and D; D over some orders of magnitude, as √v is."""
    draw = torch.Generator().manual_seed(seed)
    u = {n: torch.randn(s, generator=draw, dtype=torch.float64) for n, s in SHAPES.items()}
    d = {
        n: 1e-4 * (spread * torch.randn(s, generator=draw, dtype=torch.float64)).exp()
        for n, s in SHAPES.items()
    }
    return u, d


def members(g: Groups, values: dict[str, Tensor], group: int) -> Tensor:
    """All elements of one group, gathered the slow way."""
    found = [values[n].movedim(g.axis[n], 0)[g.index[n] == group].flatten() for n in g.axis]
    return torch.cat(found)


def pulls(g: Groups, u: dict[str, Tensor], d: dict[str, Tensor]) -> Tensor:
    return torch.stack([members(g, {n: u[n] * d[n] for n in u}, k).norm() for k in range(g.count)])


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("fraction", [1e-6, 1e-3, 0.1, 0.5, 0.9, 0.999])
def test_optimality_and_the_zero_test(spread: float, fraction: float) -> None:
    g = groups()
    for seed in range(5):
        u, d = point(seed, spread)
        strength = fraction * pulls(g, u, d)
        strength[2], strength[6] = 1.01 * strength[2] / fraction, 1.0001 * strength[6] / fraction  # these die
        z = group_prox(u, d, strength, g)
        for k in range(g.count):
            zk, uk, dk = members(g, z, k), members(g, u, k), members(g, d, k)
            if k in (2, 6):
                assert not zk.any()
                continue
            assert zk.all()
            residual = dk * (zk - uk) + strength[k] * zk / zk.norm()
            assert residual.norm() / strength[k] < 1e-10 / min(1.0, 1e3 * fraction)
        for name in g.axis:  # what belongs to no group is untouched
            free = g.index[name] == -1
            assert torch.equal(z[name].movedim(g.axis[name], 0)[free], u[name].movedim(g.axis[name], 0)[free])


def test_zero_test_is_exact_at_the_border() -> None:
    g = Groups(1, {"w": 1}, {"w": torch.tensor([0])}, {})
    u, d = {"w": torch.tensor([[3.0], [4.0]])}, {"w": torch.ones(2, 1)}
    assert not group_prox(u, d, torch.tensor([5.0]), g)["w"].any()
    assert group_prox(u, d, torch.tensor([4.9999]), g)["w"].all()


def test_unit_metric_is_equation_5() -> None:
    g, (u, d) = groups(), point(0)
    unit = {n: torch.ones_like(v) for n, v in d.items()}
    strength = 0.4 * g.norms(u)
    strength[3] *= 3
    general, closed = group_prox(u, unit, strength, g), group_prox(u, None, strength, g)
    for name in u:
        torch.testing.assert_close(general[name], closed[name], rtol=1e-13, atol=1e-15)
    zk, uk = members(g, closed, 1), members(g, u, 1)
    torch.testing.assert_close(zk, 0.6 * uk)
    assert not members(g, closed, 3).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_strength_zero_is_the_identity_to_the_bit(dtype: torch.dtype) -> None:
    g, (u, d) = groups(), point(1)
    u, d = {n: v.to(dtype) for n, v in u.items()}, {n: v.to(dtype) for n, v in d.items()}
    u["conv"][:, 1] *= 1e-30  # squares underflow
    u["linear"][:, 2] = 0.0
    none = torch.zeros(g.count, dtype=dtype)
    for name in u:
        assert torch.equal(group_prox(u, d, none, g)[name], u[name])
        assert torch.equal(euclidean_prox(u, none, g)[name], u[name])
        assert torch.equal(l1_prox(u[name], d[name], 0.0), u[name])


def test_a_zero_group_stays_zero() -> None:
    g, (u, d) = groups(), point(1)
    u = {n: torch.zeros_like(v) for n, v in u.items()}
    for metric in (d, None):
        assert all(not z.any() for z in group_prox(u, metric, torch.ones(g.count), g).values())


def test_single_precision_agrees_with_double() -> None:
    g, (u, d) = groups(), point(3, 3.0)
    strength = 0.3 * pulls(g, u, d)
    exact = group_prox(u, d, strength, g)
    single = group_prox(
        {n: v.float() for n, v in u.items()}, {n: v.float() for n, v in d.items()}, strength.float(), g
    )
    for name in u:
        torch.testing.assert_close(single[name].double(), exact[name], rtol=2e-5, atol=1e-7)


def objective(g: Groups, z: dict, u: dict, d: dict, strength: Tensor) -> float:
    near = sum(0.5 * (d[n] * (z[n] - u[n]) ** 2).sum() for n in u)
    return float(near + sum(strength[k] * members(g, z, k).norm() for k in range(g.count)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 2.0), st.floats(0.1, 3.0), st.floats(1e-5, 0.3))
def test_minimises_its_own_objective(seed: int, share: float, spread: float, size: float) -> None:
    g, (u, d) = groups(), point(seed, spread)
    strength = share * pulls(g, u, d)
    z = group_prox(u, d, strength, g)
    best = objective(g, z, u, d, strength)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(5):
        other = {n: v + size * torch.randn(v.shape, generator=draw, dtype=v.dtype) for n, v in z.items()}
        assert best <= objective(g, other, u, d, strength) + 1e-15
    assert best <= objective(g, u, u, d, strength) + 1e-15


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 3.0))
def test_l1_minimises_its_own_objective(seed: int, strength: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    u = torch.randn(50, generator=draw, dtype=torch.float64)
    d = torch.randn(50, generator=draw, dtype=torch.float64).exp()
    z = l1_prox(u, d, strength)
    assert torch.equal(z == 0, (u.abs() <= strength / d) | (u == 0))
    for shift in (-0.1, -1e-3, 1e-3, 0.1):
        worse = 0.5 * d * (z + shift - u) ** 2 + strength * (z + shift).abs()
        assert (0.5 * d * (z - u) ** 2 + strength * z.abs() <= worse + 1e-12).all()


def test_metric_of_adam() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(3, 2))
    optimizer = torch.optim.Adam([weight])
    assert adam_metric({"w": weight}, optimizer, 1e-6) is None
    for _ in range(3):
        weight.grad = torch.randn(3, 2)
        optimizer.step()
    v = optimizer.state[weight]["exp_avg_sq"]
    found = adam_metric({"w": weight}, optimizer, 1e-6)
    assert found is not None
    torch.testing.assert_close(found["w"], v.sqrt() + 1e-6)
    corrected = adam_metric({"w": weight}, optimizer, 1e-6, {"w": (0.9, 0.999)})
    assert corrected is not None
    torch.testing.assert_close(
        corrected["w"], (v.sqrt() + 1e-6) * (1 - 0.9**3) / (1 - 0.999**3) ** 0.5, rtol=1e-4, atol=0.0
    )
    heavy = torch.optim.SGD([weight], momentum=0.9)
    heavy.step()
    with pytest.raises(
        ValueError, match="needs Adam's exp_avg_sq, which SGD lacks; choose metric='euclidean'"
    ):
        adam_metric({"w": weight}, heavy, 1e-6)


def test_torchs_step_is_the_published_one_but_for_eps() -> None:
    """Equal when torch's eps is eps/√(1 − β₂ᵏ), which tends to eps."""
    rate, beta1, beta2, eps = 1e-2, 0.9, 0.999, 1e-6
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(20, generator=draw, dtype=torch.float64)
    mine, m, v = start.clone(), torch.zeros(20).double(), torch.zeros(20).double()
    theirs = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.Adam([theirs], lr=rate, betas=(beta1, beta2))
    for k in range(1, 30):
        gradient = torch.randn(20, generator=draw, dtype=torch.float64) * 1e-5
        m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
        mine -= rate * (1 - beta2**k) ** 0.5 / (1 - beta1**k) * m / (v.sqrt() + eps)
        theirs.grad = gradient
        optimizer.param_groups[0]["eps"] = eps / (1 - beta2**k) ** 0.5
        optimizer.step()
    torch.testing.assert_close(theirs.detach(), mine, rtol=1e-10, atol=1e-12)
