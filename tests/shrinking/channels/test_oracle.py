"""Torch-Pruning, which has seen more networks than anyone, agrees on what is removed together."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
import torch_pruning
import torchvision
from torch import nn

from secateur.shrinking.channels import Channels, find_channels
from secateur.zoo import deeplab_resnet34

Slices = set[tuple[str, int, int]]  # (parameter, axis, index)

OUTPUTS = {  # what produces the outputs is never removed
    "resnet18": {"fc"},
    "resnet50": {"fc"},
    "mobilenet_v2": {"classifier.1"},
    "mobilenet_v3_small": {"classifier.3"},
    "efficientnet_b0": {"classifier.1"},
    "densenet121": {"classifier"},
    "squeezenet1_0": {"classifier.1"},
    "googlenet": {"fc"},
    "vgg11_bn": {"classifier.6"},
    "mnasnet0_5": {"classifier.1"},
    "fcn_resnet50": {"classifier.4"},
    "deeplabv3_mobilenet_v3_large": {"classifier.4"},
    "lraspp_mobilenet_v3_large": {"classifier.low_classifier", "classifier.high_classifier"},
    "deeplab_resnet34": {f"heads.{task}.branches.{i}.6" for task in ("seg", "depth") for i in range(4)},
}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "deeplab_resnet34":
        return deeplab_resnet34({"seg": 5, "depth": 1}, width=0.125).eval()
    if hasattr(torchvision.models.segmentation, name):
        return getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None).eval()
    extra = {"init_weights": False} if name == "googlenet" else {}
    return getattr(torchvision.models, name)(weights=None, **extra).eval()


def ours(channels: Channels) -> dict[int, Slices]:
    """Weight slices of every channel that can be removed."""
    found: dict[int, Slices] = defaultdict(set)
    for (name, axis), ids in channels.axes.items():
        for position, label in enumerate(ids.tolist()):
            if label >= 0 and name.endswith("weight"):
                found[label].add((name, axis, position))
    return found


def theirs(
    graph: torch_pruning.DependencyGraph, names: dict[nn.Module, str], layer: nn.Module, channel: int
) -> Slices:
    """Weight slices that Torch-Pruning's dependency graph takes along with an output channel of a layer."""
    prune = graph.get_pruner_of_module(layer).prune_out_channels
    slices: Slices = set()
    for dependency, indices in graph.get_pruning_group(layer, prune, [channel]):
        module = dependency.target.module
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)):
            inputs = graph.is_in_channel_pruning_fn(dependency.handler)
            whole = isinstance(module, nn.BatchNorm2d) or getattr(module, "groups", 1) > 1
            slices |= {(f"{names[module]}.weight", int(inputs and not whole), int(i)) for i in indices}
    return slices


LIKE_OTHERS = {
    "vgg11_bn",
    "efficientnet_b0",
    "fcn_resnet50",
    "deeplabv3_mobilenet_v3_large",
    "resnet50",
    "mobilenet_v3_small",
    "mnasnet0_5",
    "googlenet",
    "densenet121",
    "lraspp_mobilenet_v3_large",
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LIKE_OTHERS else n for n in OUTPUTS]
)
def test_what_lives_and_dies_together(name: str) -> None:
    model, x = build(name), torch.zeros(1, 3, 64, 64)
    channels = find_channels(model, x)
    mine = ours(channels)
    graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=x)
    names = {module: path for path, module in model.named_modules()}
    pinned: set[str] = set()
    for layer in graph.module2node:
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            continue
        labels = channels.axes.get((f"{names[layer]}.weight", 0))
        for channel in {0, layer.weight.shape[0] // 3, layer.weight.shape[0] - 1}:
            label = -1 if labels is None else int(labels[channel])
            if label < 0:
                pinned.add(names[layer])
            else:
                assert mine[label] == theirs(graph, names, layer, channel), (names[layer], channel)
    assert pinned == OUTPUTS[name]
