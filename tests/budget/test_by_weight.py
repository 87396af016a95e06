"""Networks that use layers by their weights: a budget of multiply-accumulates is kept as torch counts them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from secateur import Budget, Problem, Task, prune
from secateur.budget.layers import layers_of

QUICK: dict[str, Any] = {"steps": 0, "batches": 1, "repair": 0, "rounds": 1, "progress": False}


class ByWeight(nn.Module):
    """Two layers of four are called by their weights, and one matrix is no layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.wide, self.narrow, self.head = nn.Linear(16, 128), nn.Linear(128, 32), nn.Linear(24, 5)
        self.own = nn.Parameter(torch.randn(32, 24) / 6)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.first(x).relu().permute(0, 2, 3, 1)
        y = (y @ self.wide.weight.t() + self.wide.bias).relu()
        y = torch.matmul(y, self.narrow.weight.mT).relu()
        return {"a": self.head((y @ self.own).relu()).permute(0, 3, 1, 2)}


class Kernels(nn.Module):
    """A transposed convolution with a stride, and one kernel that is used as it is and as a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.mix = nn.ConvTranspose2d(6, 4, 2), nn.Conv2d(4, 4, 1)
        self.bare = nn.Parameter(torch.randn(8, 2, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv_transpose2d(x, self.up.weight, stride=2)
        y = F.linear(self.mix(y).permute(0, 2, 3, 1), self.mix.weight.flatten(1)).permute(0, 3, 1, 2)
        return F.conv2d(y, self.bare, stride=2, groups=2)


def counted_by_torch(model: nn.Module, x: Tensor) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        model(x)
    return flops.get_total_flops() // 2


@pytest.mark.filterwarnings("ignore:.*dead")
def test_a_budget_is_kept_where_layers_are_called_by_their_weights() -> None:
    torch.manual_seed(0)
    data = [(torch.randn(4, 3, 8, 8), {"a": torch.randint(0, 5, (4, 8, 8))}) for _ in range(2)]
    problem, x = Problem(ByWeight(), {"a": Task(F.cross_entropy)}, data), data[0][0][:1]
    small = prune(problem, Budget(macs=0.5), **QUICK)
    share = counted_by_torch(small, x) / counted_by_torch(problem.model, x)
    assert 0.45 < share <= 0.5


def test_layers_called_by_their_weights_are_what_they_run() -> None:
    model, x = Kernels(), torch.randn(1, 6, 8, 8)
    found = {(one.weight, bool(one.settings)): one for one in layers_of(model, x)}
    assert sum(one.macs for one in found.values()) == counted_by_torch(model, x)
    up, mix, flat = found["up.weight", True], found["mix.weight", True], found["mix.weight", False]
    assert (up.inputs, up.outputs, up.transposed, up.calls) == (6, 4, True, ((1, 8, 8),))
    assert up.settings == {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)}
    assert (mix.macs, mix.calls, flat.macs, flat.calls) == (4096, ((1, 16, 16),), 4096, ((256,),))
    bare = found["bare", True]
    assert (bare.inputs, bare.outputs, bare.groups, bare.calls) == (4, 8, 2, ((1, 16, 16),))


def test_a_vector_of_the_users_own_is_a_layer_too() -> None:
    class Scored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.score = nn.Linear(6, 4), nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) @ self.score

    found = layers_of(Scored(), torch.randn(3, 6))
    assert [(one.weight, one.inputs, one.outputs, one.macs) for one in found] == [
        ("layer.weight", 6, 4, 72),
        ("score", 4, 1, 12),
    ]
