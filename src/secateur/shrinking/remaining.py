"""Which channels are left: those that an output depends on, and the strongest where an axis would be left empty."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from secateur.shrinking.channels import Channels, Needs, jointly


def strengths(channels: Channels, state: Mapping[str, Tensor]) -> Tensor:
    """Sum of squares of all weights of each label, (labels,)."""
    strength = torch.zeros(max(1, channels.count), dtype=torch.float64)
    for (name, axis), ids in channels.axes.items():
        value = state[name].detach().cpu()
        if value.is_floating_point() and value.dim() > 1:
            square = value.double().square().movedim(axis, 0).flatten(1).sum(1)
            strength.index_add_(0, ids.clamp(min=0), torch.where(ids < 0, 0.0, square))
    return strength


def alive(channels: Channels, needs: Needs) -> Tensor:
    """Which labels an output depends on, (labels,)."""
    found = torch.zeros(max(1, channels.count), dtype=torch.bool)
    for node in channels.nodes:
        need = needs.of.get(node)
        if need is None or node.name not in channels.labels:
            continue
        for labels, part in zip(
            channels.labels[node.name], need if isinstance(need, list) else [need], strict=True
        ):
            if part is not None:
                a, b = jointly([labels, part], labels.shape)
                found[a[b & (a >= 0)]] = True
    return found


def complete(channels: Channels, keep: Tensor, strength: Tensor, gone: set[str], round_to: int) -> None:
    """Keeps more where an axis would be left empty or odd, the strongest first."""
    changed = True
    while changed:
        changed = False
        for (name, axis), ids in channels.axes.items():
            if name in gone and axis != 0:
                continue
            left = int(((ids < 0) | keep[ids.clamp(min=0)]).sum())
            target = min(ids.numel(), -(-max(1, left) // round_to) * round_to)
            candidates = torch.unique(ids[(ids >= 0) & ~keep[ids.clamp(min=0)]])
            for label in candidates[strength[candidates].argsort(descending=True)].tolist():
                if left >= target:
                    break
                keep[label] = changed = True
                left += int((ids == label).sum())
