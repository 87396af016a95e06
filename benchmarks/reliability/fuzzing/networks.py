"""Networks of a few weights, whose files are as small."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateur.shrinking import compact


class Small(nn.Module):
    """A dense weight, one that is packed, a tied one, and buffers of other dtypes."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.sparse = nn.Linear(3, 2), nn.Linear(8, 8, bias=False)
        self.tied = nn.Linear(3, 2, bias=False)
        self.tied.weight = self.dense.weight
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("empty", torch.zeros(0, 2))


class Chain(nn.Module):
    """A network to remove channels, a layer and a bias from."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1, bias=False)
        self.side = nn.Conv2d(1, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 2, H, W)."""
        return self.c(torch.relu(self.b(torch.relu(self.a(x)))) + torch.relu(self.side(x)))


def small() -> nn.Module:
    """Its weights, the same each time."""
    torch.manual_seed(0)
    made = Small()
    with torch.no_grad():
        made.sparse.weight *= torch.rand(8, 8) < 0.1
    return made


def chain() -> nn.Module:
    """The network whole."""
    torch.manual_seed(0)
    return Chain()


def shrunk() -> nn.Module:
    """The same without a channel, with a constant in the place of a layer."""
    made = chain()
    with torch.no_grad():
        made.a.weight[1], made.a.bias[1] = 0, 0
        made.side.weight[:], made.side.bias[:] = 0, 0.5
        made.b.weight[2], made.b.bias[2] = 0, 0
    return compact(made, torch.randn(1, 1, 2, 2))
