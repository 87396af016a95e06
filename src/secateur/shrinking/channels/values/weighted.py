"""The constants of layers with weights, and of products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels.compressed import compress, full, rows, spread
from secateur.shrinking.channels.layers import Layer, convolution, product
from secateur.shrinking.channels.node import Node
from secateur.shrinking.channels.values.pointwise import CANCELLED, Values, unknown


def channel_values(layer: Layer, values: Values) -> Tensor:
    """The constant value of each input channel of a layer, (channels,); NaN where it has none."""
    flat = rows(values[layer.x], layer.channel)
    same = (flat == flat[:, :1]).all(1)
    return torch.where(same, flat[:, 0], torch.nan)


def kernel_sums(layer: Layer, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Of a weight: its sum over the kernel, and whether any tap is nonzero; both (groups, outputs, inputs) per group."""
    flat = (
        weight.detach().cpu().double().flatten(2)
        if weight.dim() > 2
        else weight.detach().cpu().double()[..., None]
    )
    if layer.transposed:
        flat = flat.unflatten(0, (layer.groups, -1)).transpose(1, 2)
    elif layer.input_axis == 0:
        flat = flat.transpose(0, 1)[None]
    else:
        flat = flat.unflatten(0, (layer.groups, -1))
    return flat.sum(-1), (flat != 0).any(-1)


def convolution_values(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Tensor:
    """Of outputs that read constants alone."""
    return _layer(values, convolution(node), node)


def product_values(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    """Of outputs that read constants alone; of two activations, where one is zero."""
    layer = product(node)
    if layer is not None:
        return _layer(values, layer, node)
    if len(node.inputs) != 2 or any(len(read.shape) < 2 for read in node.inputs):
        return unknown(node)
    a, b = (values[read] for read in node.args[:2])
    zero = (a == 0).all(-1)[..., :, None] | (b == 0).all(-2)[..., None, :]
    return compress(torch.where(zero, 0.0, torch.nan).double().expand(node.shape))


def _layer(values: Values, layer: Layer, node: Node) -> Tensor:
    if layer.weight.op != "parameter":
        if layer.bias is None and layer.apart:
            zeros = torch.where(channel_values(layer, values) == 0, 0.0, torch.nan)
            return compress(spread(zeros, layer.channel, node.shape))
        return full(torch.nan, node.shape, torch.float64)
    sums, used = kernel_sums(layer, values[layer.weight])
    inside = channel_values(layer, values).view(layer.groups, 1, -1)
    spoilt = inside.isnan() | ((inside != 0) if layer.padded else torch.zeros_like(inside, dtype=torch.bool))
    out = (sums * inside.nan_to_num()).sum(-1).flatten()
    size = (sums * inside.nan_to_num()).abs().sum(-1).flatten()
    if layer.bias is not None:
        out, size = out + values[layer.bias], size + values[layer.bias].abs()
    out = torch.where((used & spoilt).any(-1).flatten(), torch.nan, out)
    if bool((out.abs() < CANCELLED * size).any()):
        values.soft.add(node)
    return compress(spread(out, layer.channel, node.shape))
