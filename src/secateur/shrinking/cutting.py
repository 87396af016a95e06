"""Parameters cut to what is left of them, and their modules told."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

from secateur.shrinking.names import named


def add_bias(module: nn.Module) -> None:
    """Gives a layer without bias one of zeros, trained where its weight is."""
    weight: Any = module.weight
    outputs = module.out_channels if isinstance(module, _ConvNd) else weight.shape[0]
    bias = nn.Parameter(weight.new_zeros(outputs), requires_grad=weight.requires_grad)
    module.register_parameter("bias", bias)


@torch.no_grad()
def cut(
    model: nn.Module, kept: Mapping[str, Mapping[int, Tensor]], thinned: Collection[str] = ()
) -> dict[str, tuple[int, int]]:
    """Cuts parameters and buffers to the indices left along each axis, and tells their modules.

    Args:
        model: Changed in place.
        kept: Parameter or buffer to axis to the indices left along it.
        thinned: Weights of convolutions that keep all their groups.

    Returns:
        Path of each such convolution to its groups and output channels.
    """
    paths = {path: m for path, m in model.named_modules() if isinstance(m, _ConvNd)}
    counts = {path: m.groups for path, m in paths.items() if f"{path}.weight".lstrip(".") in thinned}
    first = {id(tensor): name for name, tensor in reversed(named(model).items())}
    for module in model.modules():
        held = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        for name, tensor in held.items():
            for axis, indices in kept.get(first[id(tensor)], {}).items():
                if tensor.shape[axis] != indices.numel():
                    _tell(module, name, axis, tensor.shape[axis], indices.numel())
    for name, tensor in named(model).items():
        if name in kept and first[id(tensor)] == name:
            value = tensor.data
            for axis, indices in kept[name].items():
                value = value.index_select(axis, indices.to(value.device))
            tensor.data = value.clone()
            tensor.grad = None
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
    return {path: tell_groups(paths[path], count) for path, count in counts.items()}


def tell_groups(module: _ConvNd, groups: int) -> tuple[int, int]:
    """Sets what a convolution says of its sizes to what its weight has, in so many groups; groups and output channels."""
    first, second = module.weight.shape[:2]
    module.groups = groups
    module.in_channels, module.out_channels = (
        (first, second * groups) if isinstance(module, _ConvTransposeNd) else (second * groups, first)
    )
    return groups, module.out_channels


def tell_norm(module: Any, groups: int, channels: int) -> None:
    """Sets what a normalisation without weights says of its sizes."""
    if isinstance(module, nn.GroupNorm):
        module.num_groups, module.num_channels = groups, channels
    elif isinstance(module, _NormBase):
        module.num_features = channels


def _tell(module: Any, name: str, axis: int, before: int, after: int) -> None:
    """Sets what a module of torch says about its sizes."""
    if isinstance(module, _ConvNd) and name == "weight":
        inputs = isinstance(module, _ConvTransposeNd) == (axis == 0)
        if module.groups > 1 and axis == 0:  # whole groups went
            module.in_channels = module.in_channels * after // before
            module.out_channels = module.out_channels * after // before
            module.groups = module.groups * after // before
        elif inputs:
            module.in_channels = after
        else:
            module.out_channels = after
    elif isinstance(module, nn.Linear) and name == "weight":
        setattr(module, "out_features" if axis == 0 else "in_features", after)
    elif isinstance(module, _NormBase):
        module.num_features = after
    elif isinstance(module, nn.GroupNorm) and name == "weight":
        module.num_groups, module.num_channels = module.num_groups * after // before, after
    elif isinstance(module, nn.Embedding) and axis == 1:
        module.embedding_dim = after
    elif isinstance(module, nn.RNNBase) and axis == 1 and name.startswith("weight_hh"):
        module.hidden_size = after
    elif isinstance(module, nn.RNNBase) and axis == 1 and name.startswith("weight_ih_l0"):
        module.input_size = after
    elif isinstance(module, nn.PReLU):
        module.num_parameters = after
