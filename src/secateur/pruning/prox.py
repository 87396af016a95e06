"""Proximal maps of the group lasso and of ℓ1, in a diagonal metric."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.pruning.groups import Groups, wide
from secateur.pruning.sparsifier import groups_of


def group_prox(
    u: Mapping[str, Tensor],
    metric: Mapping[str, Tensor] | None,
    strength: Tensor,
    groups: Groups,
    iterations: int = 6,
) -> dict[str, Tensor]:
    """argmin_z ½(z − u)ᵀD(z − u) + Σ_g κ_g‖z_g‖₂, exactly (ProxSSI, Deleu and Bengio 2021, Prop. 1; Less is More 2023).

    A group is zero where ‖D u‖₂ ≤ κ. Elsewhere z_i = u_i·D_i θ/(D_i θ + κ), and θ = ‖z‖₂ solves S(θ) = 1 with
    S(θ) = Σ u_i²/(θ + κ/D_i)². Newton runs on S^(−½), which is concave and nearly linear in θ and so needs fewer
    iterations than F = S − 1; from ‖u‖ − κ·Σ(u_i²/D_i)/‖u‖², its root's lower bound by the tangent at infinity, the
    iterates rise monotonically to the root.

    Args:
        u: Weight name to point, in float32 or float64.
        metric: Weight name to D, of the same shape, positive; None for :func:`euclidean_prox`.
        strength: κ, (groups,), not negative; 0 leaves a group as it is, to the bit.
        groups: The partition; what belongs to no group is left as it is.
        iterations: At most so many steps of Newton. On a CPU they end with convergence, elsewhere a test would have to wait
            for the device and all of them are done.

    Returns:
        z, new tensors.
    """
    if metric is None:
        return euclidean_prox(u, strength, groups)
    squares: list[Tensor] = []
    leans: list[Tensor] = []
    pulls: list[Tensor] = []
    for name in groups.axis:  # one weight at a time, so that what is between stays in the cache
        square, d = u[name].square(), metric[name]
        squares.append(groups.along(name, square))
        leans.append(groups.along(name, square / d))
        pulls.append(groups.along(name, square.mul_(d).mul_(d)))
    length, lean, pull = groups.gather(squares).sqrt(), groups.gather(leans), groups.gather(pulls).sqrt()
    moved = strength > 0
    dead = moved & (pull <= strength)
    solved = moved & ~dead
    kappa = torch.where(solved, strength, 0.0)
    start = (length - strength * lean / length.square()).clamp(min=0.0)
    theta = torch.where(solved, start, 1.0)  # 1 where κ is 0: there the factor below is D/D = 1 exactly
    kappas = groups.spread(kappa, 0.0, u)
    enough = torch.finfo(theta.dtype).eps ** 0.5  # the step after this one would be below the precision
    for _ in range(iterations):
        values: list[Tensor] = []
        slopes: list[Tensor] = []
        for name, part in groups.spread(theta, 1.0, u).items():
            w = _inverse(metric[name], part, kappas[name])
            square = (u[name] * w).square_()
            values.append(groups.along(name, square))
            slopes.append(groups.along(name, square.mul_(w)))
        value, slope = groups.gather(values), groups.gather(slopes)
        step = torch.where(solved, value * (value.sqrt() - 1.0) / slope, 0.0)
        theta = theta + step
        if theta.is_cpu and bool((step.abs() <= enough * theta).all()):
            break
    scales = groups.spread(torch.where(dead, 0.0, theta), 1.0, u)
    return {
        name: _inverse(metric[name], part, kappas[name]).mul_(scales[name]).mul_(u[name])
        for name, part in groups.spread(theta, 1.0, u).items()
    }


def euclidean_prox(u: Mapping[str, Tensor], strength: Tensor, groups: Groups) -> dict[str, Tensor]:
    """z_g = u_g·max(1 − κ_g/‖u_g‖₂, 0): :func:`group_prox` in the metric D = 1 (Less is More 2023, Eq. 5).

    Args:
        u: Weight name to point, in float32 or float64.
        strength: κ, (groups,), not negative; 0 leaves a group as it is, to the bit.
        groups: The partition; what belongs to no group is left as it is.

    Returns:
        z, new tensors.
    """
    length = groups.norms(u)
    factor = torch.where(strength > 0, (1.0 - strength / length).clamp(min=0.0), 1.0)
    factor = torch.where((strength > 0) & (length == 0), 0.0, factor)
    return {name: u[name] * f for name, f in groups.spread(factor, 1.0, u).items()}


def l1_prox(u: Tensor, metric: Tensor | float, strength: Tensor | float) -> Tensor:
    """argmin_z ½(z − u)ᵀD(z − u) + Σ κ|z|: sign(u)·max(|u| − κ/D, 0), zero exactly where |u| ≤ κ/D.

    Args:
        u: Point, any shape.
        metric: D, positive, broadcasts to it.
        strength: κ, not negative, broadcasts to it; 0 is the identity.
    """
    reach = torch.as_tensor(strength / metric, dtype=u.dtype, device=u.device)
    return u - u.clamp(-reach, reach)


def adam_metric(
    weights: Mapping[str, Tensor],
    optimizer: Optimizer,
    eps: float,
    betas: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Tensor] | None:
    """D = √v + eps of each weight, in at least single precision; None if none has been stepped yet.

    A weight that never had a gradient gets the mean of the others' D, so that beside them its size alone counts.

    Args:
        weights: Weight name to parameter.
        optimizer: Adam or one that keeps ``exp_avg_sq`` as it does.
        eps: Added to √v; positive.
        betas: Of each weight. If given, D·(1 − β₁ᵏ)/√(1 − β₂ᵏ), the metric of the very step k, with its bias corrections.

    Raises:
        ValueError: If the optimizer has taken a step and keeps no such moment.
    """
    found: dict[str, Tensor] = {}
    for name, p in weights.items():
        state: dict[str, Any] = optimizer.state.get(p, {})
        if not state:
            continue
        if "exp_avg_sq" not in state:
            raise ValueError(
                f"metric 'adaptive' needs Adam's exp_avg_sq, which {type(optimizer).__name__} lacks; choose metric='euclidean'."
            )
        found[name] = state["exp_avg_sq"].to(wide(p)).sqrt().add_(eps)
        if betas is not None:
            k = torch.as_tensor(state["step"], dtype=torch.float32).to(p.device)
            first, second = betas[name]
            found[name].mul_((1 - first**k) / (1 - second**k).sqrt())
    if not found:
        return None
    if len(found) < len(weights):
        mean = torch.stack([d.sum() for d in found.values()]).sum() / sum(d.numel() for d in found.values())
        missing = {n: torch.ones_like(p, dtype=wide(p)) * mean for n, p in weights.items() if n not in found}
        found = {name: (found | missing)[name] for name in weights}
    return found


def at_rates(
    metric: Mapping[str, Tensor] | None, rates: Mapping[str, float], weights: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor] | None, float]:
    """A metric and one rate that stand for a rate of each weight: a step of ``rate`` in D is one of the highest in D·highest/``rate``.

    Args:
        metric: Weight name to D, of the same shape; None for D = 1.
        rates: Weight name to its learning rate, not negative; where it is 0 the metric stays as it is.
        weights: Give shapes where ``metric`` is None.

    Returns:
        The metric, as it is where all have one rate, and the highest rate.
    """
    highest = max(rates.values())
    if min(rates.values()) == highest:
        return (None if metric is None else dict(metric)), highest
    plain = metric or {name: torch.ones_like(p, dtype=wide(p)) for name, p in weights.items()}
    return {name: d * (highest / (rates[name] or highest)) for name, d in plain.items()}, highest


@dataclass(frozen=True)
class Step:
    """What a proximal step has of the optimizer's step that it follows.

    Args:
        metric: Weight name to D; None for D = 1.
        rate: Learning rate; weights of others have theirs in the metric.
        still: Weights that the optimizer does not move, frozen ones among them: no penalty moves them either.
    """

    metric: dict[str, Tensor] | None
    rate: float
    still: frozenset[str]


def of_step(
    weights: Mapping[str, nn.Parameter], optimizer: Optimizer, eps: float, adaptive: bool, corrected: bool
) -> Step | None:
    """Metric and rate of the optimizer's last step; None if with the ``adaptive`` metric no weight has been stepped yet.

    Args:
        weights: Weight name to parameter.
        optimizer: That has stepped them.
        eps: As :func:`adam_metric` takes it.
        adaptive: D of Adam; else D = 1.
        corrected: With Adam's bias corrections.

    Raises:
        ValueError: As :func:`adam_metric`.
    """
    own = groups_of(optimizer, weights)
    read = {id(group): float(group["lr"]) for group in {id(group): group for group in own.values()}.values()}
    rates = {name: read[id(own[name])] if name in own else 0.0 for name in weights}
    still = {n for n, p in weights.items() if not p.requires_grad or not rates[n]}
    metric = None
    if adaptive:
        betas = {n: group["betas"] for n, group in own.items() if "betas" in group} if corrected else None
        metric = adam_metric(weights, optimizer, eps, betas)
        if metric is None:
            return None
        still |= {n for n, p in weights.items() if not optimizer.state.get(p)}
    return Step(*at_rates(metric, rates, weights), frozenset(still))


def touched(groups: Groups, names: Container[str]) -> Tensor:
    """The groups that have a part in one of these weights; (count,) bool."""
    return groups.gather(ids.new_full(ids.shape, name in names) for name, ids in groups.index.items()) > 0


def _inverse(metric: Tensor, theta: Tensor, kappa: Tensor) -> Tensor:
    """1/(θ + κ/D) = D/(D θ + κ); D/D where κ is 0 and θ 1."""
    bottom = torch.addcmul(kappa, metric, theta)
    return torch.div(metric, bottom, out=bottom)
