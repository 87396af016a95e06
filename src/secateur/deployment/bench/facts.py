"""Counts of a network: parameters, multiply-accumulates, zeros, channels."""

from __future__ import annotations

import torch
from torch import nn

from secateur.deployment.bench.record import Facts
from secateur.measures import count_macs, unmoved, varied
from secateur.problem import Input
from secateur.pruning import weight

_STEP = 8  # channels that the kernels of common engines take at once


@torch.no_grad()
def facts(model: nn.Module, example: Input) -> Facts:
    """Counts ``model`` on ``example``; the model is left as it was."""
    macs = count_macs(model, example)
    modules = dict(model.named_modules())
    nonzero, dead, uneven = 0.0, 0, 0
    for name, count in macs.items():
        value = weight(model, name)  # (out, in, ...), transposed convolutions (in, out, ...)
        module = modules[name.rpartition(".")[0]]
        rows = value.transpose(0, 1) if getattr(module, "transposed", False) else value
        nonzero += count * float((value != 0).double().mean())
        gates = isinstance(module, (nn.RNNBase, nn.RNNCellBase))  # a row of theirs is one, with two matrices
        if not gates and value.dim() > 1:
            dead += int((rows.flatten(1) == 0).all(1).sum())
        uneven += count if any(size % _STEP for size in value.shape[:2]) else 0
    total = sum(macs.values())
    return Facts(
        params=sum(p.numel() for p in model.parameters()),
        macs=total,
        nonzero_macs=round(nonzero),
        dead_channels=dead,
        uneven=uneven / total if total else 0.0,
        dead=tuple(unmoved(model, varied(example))),
    )
