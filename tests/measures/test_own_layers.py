"""Layers that take and give what they like: what they multiply counts, not what they return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.measures import count_macs

X, V = torch.randn(2, 6, 8, 8), torch.randn(2, 5, 6)


class Causal(nn.Conv1d):
    """Keeps the last places."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., -4:]


class WithBias(nn.Linear):
    """As Megatron's."""

    def forward(self, x: Tensor) -> Any:
        return F.linear(x, self.weight), self.bias


class LowRank(nn.Linear):
    """As LoRA merges it; the product of its two matrices is no work on data."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.a, self.b = nn.Parameter(torch.randn(2, inputs)), nn.Parameter(torch.randn(outputs, 2))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight + self.b @ self.a)


class Modulated(nn.Conv2d):
    """A kernel for each sample."""

    def forward(self, x: Tensor) -> Tensor:
        kernels = self.weight * x.mean((2, 3))[:, None, :, None, None]
        return F.conv2d(x.flatten(0, 1)[None], kernels.flatten(0, 1), groups=len(x))


class SelfAttention(nn.MultiheadAttention):
    """Of one input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x, x, x, need_weights=False)[0]


class Steps(nn.LSTM):
    """Gives the outputs alone."""

    def forward(self, values: Tensor) -> Any:
        return super().forward(values)[0]


SUBCLASSES: dict[str, Callable[[], tuple[nn.Module, Tensor, int]]] = {
    "cropped": lambda: (Causal(6, 4, 1), torch.randn(1, 6, 16), 24 * 16),
    "a tuple": lambda: (WithBias(6, 4), V, 24 * 10),
    "merged": lambda: (LowRank(6, 4), V, 24 * 10),
    "modulated": lambda: (Modulated(6, 4, 3), X, 216 * 36 * 2),
    "attention": lambda: (SelfAttention(6, 2, batch_first=True), V, 4 * 36 * 10),
    "recurrent": lambda: (Steps(6, 4, batch_first=True), V, 16 * (6 + 4) * 10),
}


@pytest.mark.parametrize("case", SUBCLASSES)
def test_a_layer_may_take_and_give_what_it_likes(case: str) -> None:
    layer, x, expected = SUBCLASSES[case]()
    assert sum(count_macs(nn.Sequential(layer), x).values()) == expected


def test_what_a_hook_makes_of_inputs_and_outputs_is_not_counted() -> None:
    cropped, narrowed = nn.Linear(6, 4), nn.Linear(2, 4)
    cropped.register_forward_hook(lambda _m, _x, y: (y[:, :1], y))
    narrowed.register_forward_pre_hook(lambda _m, x: (x[0][..., :2],))

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f, self.g = cropped, narrowed

        def forward(self, x: Tensor) -> Any:
            return self.f(x)[0], self.g(x)

    assert count_macs(Both(), V) == {"f.weight": 24 * 10, "g.weight": 8 * 10}
