"""Widths and work of layers, as the report shows them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateur.measures import count_macs, layer_rows


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(4, 8, 3, groups=2)
        self.up = nn.ConvTranspose2d(8, 6, 2, groups=2)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.head(self.up(self.body(x)).mean((2, 3)))}


def test_channels_are_those_of_all_groups_whichever_axis_they_lie_on() -> None:
    model, x = Net(), torch.randn(1, 4, 6, 6)
    named = {"backbone": ("body.weight", "up.weight"), "a": ("head.weight",)}
    rows = layer_rows(model, x, named)
    assert [(r["weight"], r["component"], r["inputs"], r["outputs"]) for r in rows] == [
        ("body.weight", "backbone", 4, 8),
        ("up.weight", "backbone", 8, 6),
        ("head.weight", "a", 6, 3),
    ]
    assert {r["weight"]: r["macs"] for r in rows} == count_macs(model, x)
    assert layer_rows(model, x, {"a": ("head.weight",)}) == rows[2:], "what is of no component is left out"
