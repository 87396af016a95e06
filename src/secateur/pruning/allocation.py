"""How thresholds differ among components: log-offsets u_c, with α_c = α·exp(u_c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from secateur.pruning.pattern import Pattern

_SINGLE = Pattern()


def scale_offset(weights: Sequence[Tensor], power: float) -> Tensor:
    """``power``·log rms(w) over the tensors of a component: a large weight counts relative to its component's.

    Args:
        weights: Latent weights.
        power: 0 compares raw magnitudes, 1 wholly relative ones.
    """
    squares = torch.stack([w.float().square().sum() for w in weights]).sum()
    return 0.5 * power * (squares / sum(w.numel() for w in weights)).clamp(min=1e-24).log()


def marginal_cost(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    threshold: Tensor,
    band: float,
    pattern: Pattern = _SINGLE,
) -> Tensor:
    """Log of the loss, to second order, that a weight at the threshold is worth: ½·log mean((g·α)²) over the band.

    Only weights within a factor 1 ± ``band`` of the threshold count: those that the next move of it decides about.
    With straight-through gradients this is the Fisher form of the Taylor cost (Theis et al. 2018, Eq. 7).

    Args:
        weights: Latent weights of a component.
        gradients: Of the same shapes; None counts as zero.
        threshold: α_c, a scalar tensor.
        band: Half the width of the band, relative.
        pattern: Blocks are in the band, with all their weights, by their root mean square; single weights by default.

    Returns:
        A scalar; NaN if no weight lies in the band.
    """
    total, count = threshold.new_zeros(()), threshold.new_zeros(())
    for weight, gradient in zip(weights, gradients, strict=True):
        near = pattern.spread(((pattern.magnitude(weight) / threshold) - 1.0).abs() < band, weight.shape)
        count += near.sum()
        if gradient is not None:
            total += (gradient * near).float().square().sum()
    return 0.5 * (total / count).log() + threshold.log()


def cost_offsets(
    costs: Mapping[str, Tensor], sizes: Mapping[str, int], rate: float, bound: float
) -> dict[str, Tensor]:
    """u_c = clip(−rate·(λ_c − λ̄), ±bound): where a weight at the threshold is worth more, the threshold is lower.

    A component whose cost is not known yet, or never will be because no task reaches it, has no offset and no say in λ̄.

    Args:
        costs: Component to λ_c, the smoothed :func:`marginal_cost`; NaN if not known.
        sizes: Component to its number of weights, which λ̄ is weighted by.
        rate: Share of the log cost that is evened out; 1 would even it out wholly.
        bound: Largest offset.
    """
    known = {c: cost.isfinite() for c, cost in costs.items()}
    total = sum(sizes[c] * torch.where(known[c], cost, 0.0) for c, cost in costs.items())
    mean = total / sum(sizes[c] * known[c] for c in costs)
    offsets = {c: (rate * (mean - cost)).clamp(-bound, bound) for c, cost in costs.items()}
    return {c: torch.where(known[c], offset, 0.0) for c, offset in offsets.items()}
