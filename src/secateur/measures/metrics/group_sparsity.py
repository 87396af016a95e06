"""How many whole channels of a backbone are zero, as Less is More counts them (2023, Table 1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class GroupSparsity:
    """Zero fractions in [0, 1]; the tables print them in percent.

    Args:
        groups: Slices that are all zero over all slices, whatever their size ("group sparsity").
        parameters: Elements of such slices over all elements ("parameter sparsity"); isolated zeros do not count.
        elements: Zero elements over all elements; what the table of the ℓ1 runs must mean by parameter sparsity.
    """

    groups: float
    parameters: float
    elements: float


@torch.no_grad()
def group_sparsity(weights: Iterable[Tensor], axis: Literal["in", "out"] = "in") -> GroupSparsity:
    """Zero slices ``W[:, j]`` (or ``W[i]``) of the weights together; the host is read once.

    Args:
        weights: (out, in, ...) each; as published, those of all convolutions of the backbone.
        axis: ``"in"``: slices are input channels, as published. ``"out"``: output filters, what the published training
            log counts.

    Raises:
        ValueError: If there is no weight, a weight has less than two axes, or ``axis`` is unknown.
    """
    if axis not in ("in", "out"):
        raise ValueError(f"axis is {axis!r}; choose 'in' or 'out'.")
    place = 1 if axis == "in" else 0
    counts: list[Tensor] = []
    slices = elements = 0
    for weight in weights:
        if weight.dim() < 2:
            raise ValueError(f"weights has a tensor of shape {tuple(weight.shape)}; give (out, in, ...).")
        nonzero = (weight != 0).movedim(place, 0).flatten(1).sum(1)  # (slices,)
        zero = (nonzero == 0).sum()
        size = weight.numel() // weight.shape[place]
        counts.append(torch.stack([zero, zero * size, weight.numel() - nonzero.sum()]))
        slices += weight.shape[place]
        elements += weight.numel()
    if not counts:
        raise ValueError("weights is empty; give the weights of the backbone's convolutions.")
    dead, inside, zeros = torch.stack(counts).sum(0).tolist()
    return GroupSparsity(dead / slices, inside / elements, zeros / elements)
