"""What is no work on data, what nobody can count, and what counting itself costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from measures.written_nets import Net
from secateur.measures import count_macs

X, V = torch.randn(2, 6, 8, 8), torch.randn(2, 5, 6)


def linear() -> nn.Linear:
    return nn.Linear(6, 4)


class Adapted(nn.Linear):
    """A layer with an adapter of low rank, beside it or merged into its weight at each pass (LoRA, arXiv 2106.09685)."""

    def __init__(self, merged: bool) -> None:
        super().__init__(6, 4)
        self.A, self.B, self.merged = (
            nn.Parameter(torch.randn(2, 6)),
            nn.Parameter(torch.randn(4, 2)),
            merged,
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            return F.linear(x, self.weight + self.B @ self.A, self.bias)
        return super().forward(x) + x @ self.A.t() @ self.B.t()


class Turned(nn.Linear):
    """A layer whose weight is turned by a matrix that is trained (OFT, arXiv 2306.07280)."""

    def __init__(self) -> None:
        super().__init__(6, 12)
        self.turn = nn.Parameter(torch.eye(12))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.turn @ self.weight)


def test_products_of_parameters_alone_are_not_counted() -> None:
    """No data enters them: they can be made once. What is not merged is work at each vector."""
    assert count_macs(Adapted(merged=True), V) == {"weight": 240}
    assert count_macs(Adapted(merged=False), V) == {"weight": 240, "A": 120, "B": 80}
    assert count_macs(Turned(), V) == {"weight": 720}
    other = Net(
        lambda m, x: F.linear(x, m.b @ m.a + m.f.weight),
        f=linear(),
        a=nn.Parameter(torch.ones(2, 6)),
        b=nn.Parameter(torch.ones(4, 2)),
    )
    assert count_macs(other, V) == {"f.weight": 240}
    blurred = Net(
        lambda m, x: F.conv2d(x, F.conv2d(m.c.weight, m.k)),
        c=nn.Conv2d(6, 4, 3),
        k=nn.Parameter(torch.ones(6, 6, 1, 1)),
    )
    assert count_macs(blurred, X) == {"c.weight": 216 * 72}
    assert count_macs(Net(lambda m, _: m.f(m.q), f=linear(), q=nn.Parameter(torch.randn(3, 6))), V) == {
        "f.weight": 72
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    ("layer", "name"), [(linear(), "quantized::linear_dynamic"), (nn.LSTM(6, 4), "aten::quantized_lstm")]
)
def test_weights_that_are_packed_away_are_said(layer: nn.Module, name: str) -> None:
    quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {type(layer)})
    with pytest.warns(UserWarning, match=rf"{name} takes \['packed weights'\].*not known"):
        assert sum(count_macs(quantized, V).values()) == 0


def test_counting_does_not_load_the_compiler() -> None:
    """Which takes a second, as often as a process counts a first time."""
    code = (
        "import sys, torch; from secateur import measures; "
        "print(measures.count_macs(torch.nn.Linear(2, 3), torch.ones(1, 2)), 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'weight': 6} False"
