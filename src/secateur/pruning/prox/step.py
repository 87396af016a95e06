"""A proximal step after one of an optimizer: its metric, its rates, what it leaves still (Less is More 2023, Eq. 3 to 5)."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.pruning.groups import Groups, wide
from secateur.pruning.prox.asked import part_of
from secateur.pruning.prox.maps import group_prox, l1_prox
from secateur.pruning.sparsifier import groups_of


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
            kind = type(part_of(optimizer, p)).__name__
            raise ValueError(
                f"metric 'adaptive' needs Adam's exp_avg_sq, which {kind} lacks; choose metric='euclidean'."
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


def has_moved(weights: Mapping[str, Tensor], optimizer: Optimizer) -> bool:
    """Whether the optimizer has taken a step: a fused one that a gradient scaler tells to skip its first has moments by then, all zero."""
    held = (optimizer.state.get(p, {}) for p in weights.values())
    return any(float(state.get("step", 1.0)) > 0 for state in held if state)


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


@torch.no_grad()
def descend(
    weights: Mapping[str, nn.Parameter],
    groups: Groups,
    roots: Tensor,
    step: Step,
    kappa: float,
    spared: Tensor | Mapping[str, Tensor] | None,
) -> None:
    """Takes the weights to the prox of the group lasso at them, or of the l1 norm where ``spared`` is of single weights.

    Args:
        weights: Weight name to parameter; those that the optimizer left ``still`` stay.
        groups: Of the weights.
        roots: √n_g, (count,); of single weights, which belong to a group at all.
        step: The optimizer's.
        kappa: Its rate times λ.
        spared: What is not penalised: (count,) bool, or bool tensors by name of weight; None spares no group.
    """
    points = {name: p.detach().to(wide(p)) for name, p in weights.items()}
    if isinstance(spared, Mapping):
        kappas = groups.spread(torch.full_like(roots, kappa), 0.0, points)
        for name, mask in spared.items():
            kappas[name] = kappas[name] * ~mask
        metric = step.metric or dict.fromkeys(points, 1.0)
        found = {n: l1_prox(u, metric[n], kappas[n]) for n, u in points.items()}
    else:
        strength = kappa * roots
        if spared is not None:
            strength = strength.masked_fill(spared, 0.0)
        if step.still:
            strength = strength.masked_fill(touched(groups, step.still), 0.0)
        found = group_prox(points, step.metric, strength, groups)
    for name in weights.keys() - step.still:
        weights[name].copy_(found[name])


def touched(groups: Groups, names: Container[str]) -> Tensor:
    """The groups that have a part in one of these weights; (count,) bool."""
    return groups.gather(ids.new_full(ids.shape, name in names) for name, ids in groups.index.items()) > 0
