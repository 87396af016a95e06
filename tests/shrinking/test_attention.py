"""Attention of torch, whose number of heads is written out: what it needs keeps nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from dead_channels import same
from secateur import compact
from secateur.shrinking import coupled_groups

pytestmark = pytest.mark.filterwarnings("ignore:compact. of the network:UserWarning")


def _vision() -> nn.Module:
    network = VisionTransformer(32, 16, 2, 4, 32, 64, num_classes=5)
    nn.init.normal_(network.heads.head.weight)
    return network


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return nn.Sequential(nn.Linear(8, 32), encoder, nn.Linear(32, 5))


@pytest.mark.parametrize(
    ("kind", "x"), [(_vision, torch.randn(2, 3, 32, 32)), (_encoder, torch.randn(2, 7, 8))]
)
@torch.no_grad()
def test_heads_that_stay_keep_the_hidden_units_of_no_block(kind: Callable[[], nn.Module], x: Tensor) -> None:
    torch.manual_seed(0)
    network = kind().eval()
    assert coupled_groups(network, x).count == 2 * 64
    hidden = [name for name, p in network.named_parameters() if tuple(p.shape) == (32, 64)]
    for name in hidden:
        network.get_parameter(name)[:, ::2] = 0
    for block in network.modules():
        if isinstance(block, nn.MultiheadAttention):
            block.out_proj.weight[:, :8] = 0  # a head that is dead
    small = compact(network, x)
    assert same(network(x), small(x))
    assert [small.get_parameter(name).shape[1] for name in hidden] == [32, 32]
