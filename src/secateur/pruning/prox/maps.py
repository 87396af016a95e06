"""Proximal maps of the group lasso and of ℓ1, in a diagonal metric."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from secateur.pruning.groups import Groups


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


def _inverse(metric: Tensor, theta: Tensor, kappa: Tensor) -> Tensor:
    """1/(θ + κ/D) = D/(D θ + κ); D/D where κ is 0 and θ 1."""
    bottom = torch.addcmul(kappa, metric, theta)
    return torch.div(metric, bottom, out=bottom)
