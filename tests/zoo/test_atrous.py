"""The convolution that leaves out taps in the padding is ``nn.Conv2d``: values, gradients, names; traced it is the whole one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from secateur.zoo.aspp import ASPPHead
from secateur.zoo.atrous import AtrousConv2d
from secateur.zoo.deeplabv3_head import DeepLabV3Head

SIZES = [(8, 11), (11, 8), (5, 5), (6, 7), (7, 6), (1, 1), (20, 20)]


def pair(rate: int, *, bias: bool = True) -> tuple[AtrousConv2d, nn.Conv2d]:
    own = AtrousConv2d(3, 4, rate, bias=bias).double()
    plain = nn.Conv2d(3, 4, 3, 1, rate, rate, bias=bias).double()
    plain.load_state_dict(own.state_dict())
    return own, plain


def read(layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor | None]:
    x = x.clone().requires_grad_()
    y = layer(x)
    y.square().sum().backward()
    return [y, x.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_are_those_of_the_whole_convolution(
    size: tuple[int, int], training: bool, bias: bool
) -> None:
    for rate in (1, 6, 12):
        own, plain = (layer.train(training) for layer in pair(rate, bias=bias))
        x = torch.randn(2, 3, *size, dtype=torch.float64)
        for found, wanted in zip(read(own, x), read(plain, x), strict=True):
            torch.testing.assert_close(found, wanted)
            torch.testing.assert_close(own(x[0]), plain(x[0]))


def test_only_taps_that_meet_the_map_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    own, _ = pair(6)
    x = torch.ones(1, 3, 6, 7, dtype=torch.float64)
    shapes: list[torch.Size] = []
    whole = F.conv2d
    monkeypatch.setattr(
        F, "conv2d", lambda x, weight, *rest: shapes.append(weight.shape) or whole(x, weight, *rest)
    )
    own(x)
    own(x.transpose(2, 3))
    own(torch.ones(1, 3, 6, 6, dtype=torch.float64))
    own.eval()(x)
    assert [tuple(shape[2:]) for shape in shapes] == [(1, 3), (3, 1), (1, 1), (3, 3)]


def test_weights_under_a_parametrization_get_their_gradients() -> None:
    own, plain = pair(6)
    for layer in (own, plain):
        parametrize.register_parametrization(layer, "weight", nn.Softshrink(0.05))
    x = torch.randn(2, 3, 5, 9, dtype=torch.float64)
    for found, wanted in zip(read(own, x), read(plain, x), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize("training", [True, False])
def test_traced_scripted_and_exported_it_serves_every_size(training: bool) -> None:
    own, plain = (nn.Sequential(layer.train(training), nn.ReLU()).train(training) for layer in pair(6))
    small, large = (torch.randn(1, 3, side, side, dtype=torch.float64) for side in (5, 9))
    dynamic = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    made = [
        torch.jit.script(copy.deepcopy(own)),
        torch.jit.trace(own, small),
        torch.fx.symbolic_trace(own),
        torch.export.export(own, (large,), dynamic_shapes=(dynamic,)).module(),
    ]
    for network in made:
        for x in (small, large):
            torch.testing.assert_close(network(x), plain(x))


def test_the_heads_have_it_under_the_names_they_had() -> None:
    deeplab, v3 = ASPPHead(4, 5, 6), DeepLabV3Head(4, 5, 6)
    assert [m.dilation for m in deeplab.modules() if isinstance(m, AtrousConv2d)] == [
        (r, r) for r in (6, 12, 18, 24)
    ]
    assert [m.dilation for m in v3.modules() if isinstance(m, AtrousConv2d)] == [(r, r) for r in (12, 24, 36)]
    assert all(m.bias is None for m in v3.modules() if isinstance(m, AtrousConv2d))
    assert {"branches.0.0.weight", "branches.3.6.bias"} <= deeplab.state_dict().keys()
    assert {"branches.1.0.weight", "branches.3.1.running_var", "project.0.weight"} <= v3.state_dict().keys()
