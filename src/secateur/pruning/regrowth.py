"""Sparse throughout training: some weights of a layer go, as many others come."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def drop_share(progress: float, drop: float) -> float:
    """Share of the active weights that goes, from ``drop`` to 0 along half a cosine (RigL, Evci et al. 2020, section 3)."""
    return 0.5 * drop * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def top(score: Tensor, count: int, among: Tensor) -> Tensor:
    """Mask of the ``count`` highest scores among the places allowed, or of all of them; ties go to the earlier index.

    Args:
        score: Of any shape.
        count: How many.
        among: Bool tensor of the shape of ``score``.
    """
    ranked = torch.where(among, score.float(), -torch.inf).flatten()
    order = ranked.argsort(descending=True, stable=True)[: min(count, int(among.sum()))]
    mask = torch.zeros_like(ranked, dtype=torch.bool)
    mask[order] = True
    return mask.view_as(among)


def dropped(weight: Tensor, mask: Tensor, count: int) -> Tensor:
    """``mask`` without its ``count`` smallest weights."""
    return top(weight.abs(), int(mask.sum()) - count, mask)
