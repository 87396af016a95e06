"""Random networks with random dead channels compact exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dead_channels import kill, same
from secateur import compact, save
from secateur.storage.saving import load

BLOCKS = ["conv", "residual", "concat", "depthwise", "grouped", "gate", "split", "up", "linear"]


class Block(nn.Module):
    """One of several ways in which channels meet."""

    def __init__(self, kind: str, bias: bool, padding: int) -> None:
        super().__init__()
        self.kind = kind
        self.a = nn.Conv2d(8, 8, 1 + 2 * padding, padding=padding, bias=bias)
        self.b = nn.Conv2d(16 if kind == "concat" else 4 if kind == "split" else 8, 8, 1, bias=bias)
        self.norm = nn.BatchNorm2d(8)
        self.other = {
            "depthwise": nn.Conv2d(8, 8, 3, padding=1, groups=8),
            "grouped": nn.Conv2d(8, 8, 3, padding=1, groups=4),
            "up": nn.ConvTranspose2d(8, 8, 3, padding=1),
            "linear": nn.Linear(8, 8),
        }.get(kind, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.a(x)))
        match self.kind:
            case "residual":
                return torch.relu(x + self.b(y))
            case "concat":
                return self.b(torch.cat([x, y], 1))
            case "gate":
                return x * torch.sigmoid(self.b(y.mean((2, 3), keepdim=True)))
            case "split":
                one, two = y.chunk(2, 1)
                return self.b(one * two)
            case "linear":
                return self.b(self.other(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
            case _:
                return self.b(self.other(y))


class Net(nn.Module):
    def __init__(self, kinds: list[str], bias: bool, padding: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(kind, bias, padding) for kind in kinds))
        self.map = nn.Conv2d(8, 2, 1)
        self.label = nn.Linear(8 * 4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.blocks(self.stem(x))
        pooled = torch.nn.functional.adaptive_avg_pool2d(x, 2)
        return {"map": self.map(x), "label": self.label(pooled.flatten(1))}


@pytest.mark.filterwarnings("ignore:compact. of the network:UserWarning")
@settings(max_examples=25, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4),
    bias=st.booleans(),
    padding=st.integers(0, 1),
    share=st.sampled_from([0.2, 0.5, 0.8, 1.0]),
    seed=st.integers(0, 99),
)
def test_random_networks_compact_exactly(
    kinds: list[str], bias: bool, padding: int, share: float, seed: int, tmp_path_factory
) -> None:
    torch.manual_seed(seed)
    model = Net(kinds, bias, padding).eval()
    kill(model, share, seed)
    x = torch.randn(2, 3, 6, 6)
    small = compact(model, x)
    with torch.no_grad():
        assert same(model(x), small(x), 2e-5)
        path = save(small, tmp_path_factory.mktemp("saved") / "small.safetensors")
        assert same(small(x), load(Net(kinds, bias, padding), path).eval()(x), 0.0)
