"""What an optimizer keeps for a parameter, asked of itself."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.problem import preserved_rng


def state_after_step(
    optimizer: Optimizer, group: Mapping[str, Any], parameter: Tensor
) -> dict[str, Any] | None:
    """The state that the optimizer would keep for a parameter; None if it cannot be asked: it needs a closure, say, or steps another one.

    Args:
        optimizer: A twin of it steps; of several in one, the one that trains the parameter.
        group: That of the parameter.
        parameter: A copy of it is stepped.
    """
    optimizer = part_of(optimizer, parameter)
    if any(isinstance(value, Optimizer) for value in vars(optimizer).values()):
        return None  # whose steps are real
    twin = object.__new__(type(optimizer))
    hooks = {name: OrderedDict[int, Any]() for name in vars(optimizer) if name.endswith("_hooks")}
    twin.__dict__.update({**vars(optimizer), **hooks})
    copied = nn.Parameter(parameter.detach().clone())
    copied.grad = torch.zeros_like(copied)
    twin.state, twin.param_groups = defaultdict(dict), [{**group, "params": [copied]}]
    try:
        type(optimizer).step(twin)
    except Exception:  # an optimizer of any kind, asked out of turn
        return None
    return dict(twin.state.get(copied, {})) or None


def part_of(optimizer: Optimizer, parameter: Tensor) -> Optimizer:
    """Of several optimizers in one the one that trains a parameter; one by itself is that."""
    parts: list[Optimizer] = [*getattr(optimizer, "parts", [optimizer])]
    held = (part for part in parts for g in part.param_groups for p in g["params"] if p is parameter)
    return next(held, optimizer)


def lacking_moments(optimizer: Optimizer, weights: Mapping[str, nn.Parameter], corrected: bool) -> str:
    """Which optimizer trains some of ``weights`` and keeps no moments of them as Adam does, in words; empty where all do, or cannot be asked.

    Args:
        optimizer: Asked by a step of one number, for each group and number of axes; of several in one, each.
        weights: Weight name to parameter; those that are frozen need none.
        corrected: Whether their bias is to be corrected, which needs the count of steps.
    """
    names = {id(p): name for name, p in weights.items() if p.requires_grad}
    needed = {"exp_avg_sq", "step"} if corrected else {"exp_avg_sq"}
    parts: list[Optimizer] = [*getattr(optimizer, "parts", [optimizer])]
    for part in parts:
        pairs = [(group, p) for group in part.param_groups for p in group["params"] if id(p) in names]
        asked = {(id(group), p.dim()): (group, p.detach().new_zeros((1,) * p.dim())) for group, p in pairs}
        with preserved_rng():
            states = [state_after_step(part, *one) for one in asked.values()]
        other = any(needed - state.keys() for state in states if state is not None)
        if pairs and (other or "betas" not in part.defaults):
            more = f" and {len(pairs) - 1} more" if pairs[1:] else ""
            first = names[id(pairs[0][1])]
            return type(part).__name__ + (f", which trains {first}{more}," if parts[1:] else "")
    return ""
