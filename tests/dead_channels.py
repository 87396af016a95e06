"""Networks of torchvision, channels that are made dead in them, and whether two outputs are the same."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

NETWORKS = ["resnet18", "densenet121", "regnet_y_400mf", "squeezenet1_0"]

# Made of what another of these has, such as resnet18's residuals, regnet's groups and squeezes, densenet's concatenations; or large.
LIKE_OTHERS = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in (
        "shufflenet_v2_x0_5", "swin_t", "resnext50_32x4d", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny",
        "googlenet", "densenet121_whole", "swin_t_whole", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large",
        "fcn_resnet50",
    )
]  # fmt: skip


SHALLOWER = {  # the same network with fewer of the same blocks
    "densenet121": lambda: torchvision.models.DenseNet(32, (3, 4, 6, 4), 64),
    "swin_t": lambda: torchvision.models.SwinTransformer([4, 4], 96, [2, 2, 2], [3, 6, 12], [7, 7]),
}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name in SHALLOWER:
        return SHALLOWER[name]().eval()
    if hasattr(torchvision.models.segmentation, name):
        return getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None).eval()
    extra = {"init_weights": False} if name == "googlenet" else {}
    return getattr(torchvision.models, name.removesuffix("_whole"))(weights=None, **extra).eval()


@torch.no_grad()
def kill(model: nn.Module, share: float = 0.5, seed: int = 0) -> None:
    """Random dead rows and columns everywhere, and BatchNorm that leaves constants behind them."""
    draw = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1, generator=draw)
            module.running_var.uniform_(0.5, 1.5, generator=draw)
            module.weight.uniform_(0.5, 1.5, generator=draw)
            module.bias.normal_(0, 0.3, generator=draw)
        elif isinstance(module, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)):
            weight = module.weight
            weight[torch.rand(weight.shape[0], generator=draw) < share] = 0
            if weight.shape[1] > 1:
                weight[:, torch.rand(weight.shape[1], generator=draw) < share] = 0


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def same(a: object, b: object, tolerance: float = 1e-5) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k], tolerance) for k in a)
    return a.shape == b.shape and float((a - b).abs().max()) <= tolerance * float(a.abs().max())
