"""How often a network is cut and run until its code takes it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import secateur.shrinking.exact as exact
from dead_channels import same
from secateur import compact


class Block(nn.Module):
    """Its code has sizes written in it (FocalNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        kept, gate = torch.split(self.a(x), [4, 2], dim=-1)
        return x + self.c(torch.relu(self.b(kept * gate.sum(-1, keepdim=True))))


@torch.no_grad()
def test_a_line_that_needs_its_channels_in_two_blocks_is_not_tried_in_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(*[Block() for _ in range(8)]).eval()
    for block in model:
        block.b.weight[:, 1] = 0
        block.c.weight[:, 2] = 0
    tries: list[int] = []
    attempt: Any = exact._attempt

    def counted(*args: Any, **settings: Any) -> Any:
        tries.append(1)
        return attempt(*args, **settings)

    monkeypatch.setattr("secateur.shrinking.exact._attempt", counted)
    x = torch.randn(2, 5, 4)
    small: Any = compact(model, x)
    assert len(tries) == 3  # the first, one more, and all
    assert all(block.a.out_features == 6 and block.b.out_features == 3 for block in small)
    assert same(model(x), small(x))
