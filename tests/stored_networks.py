"""Networks of every kind that a file of weights can hold."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from problems import TwoHeads, two_heads
from secateur import compact


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 12), nn.Linear(12, 12)
        self.second.weight = self.first.weight
        self.register_buffer("causal", torch.full((3, 3), -torch.inf).triu(1))


def dense() -> nn.Module:
    return TwoHeads(4)


def sparse() -> nn.Module:
    model = TwoHeads(8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= torch.rand_like(parameter) < 0.2
    return model


def compacted() -> nn.Module:
    problem = two_heads(width=8)
    with torch.no_grad():
        problem.model.trunk[4].weight[2:5] = 0
        problem.model.trunk[4].bias[2:5] = 0
        problem.model.shade[0].weight[3] = 0
        problem.model.shade[0].bias[3] = 0
    return compact(problem.model, problem.train[0][0])


KINDS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "dense": (dense, dense),
    "sparse": (sparse, lambda: TwoHeads(8)),
    "compacted": (compacted, lambda: TwoHeads(8)),
    "tied": (Tied, Tied),
}
