"""The networks of sparse_speed.py: name to what builds it with its input. No weights are loaded; time does not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from secateur.zoo import deeplab_resnet34, mobilenetv2_aspp

_HEADS = {"seg": 13, "normal": 3, "depth": 1}


class Plain(nn.Module):
    """Any network as one with tasks: what it returns under names."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> dict[str, Tensor]:
        """``{task: prediction}``."""
        found = self.model(x) if isinstance(x, Tensor) else self.model(**x)
        if isinstance(found, dict) and set(found) <= set(_HEADS):
            return found
        return {"out": found if isinstance(found, Tensor) else found[0]}


def _image(model: nn.Module, height: int = 240, width: int = 320) -> tuple[nn.Module, Any]:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval(), torch.randn(1, 3, height, width)


def _bert() -> tuple[nn.Module, Any]:
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(num_hidden_layers=6, attn_implementation="eager"), add_pooling_layer=False)
    ids = torch.randint(0, 30000, (1, 128))
    return model.eval(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "deeplab_resnet34": lambda: _image(deeplab_resnet34(_HEADS)),
    "mobilenetv2_aspp": lambda: _image(mobilenetv2_aspp(_HEADS)),
    "resnet50": lambda: _image(torchvision.models.resnet50(), 224, 224),
    "mobilenet_v3_large": lambda: _image(torchvision.models.mobilenet_v3_large(), 224, 224),
    "bert, 6 layers": _bert,
}
