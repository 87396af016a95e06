"""How labels pass through operations with weights, and through attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels.compressed import along, full, shrunk, spread, varies, varying
from secateur.shrinking.channels.labelling import NEUTRAL, PINNED, Labelling
from secateur.shrinking.channels.layers import Layer, convolution, product
from secateur.shrinking.channels.node import Node


def convolution_rule(flow: Labelling, node: Node) -> Any:
    """Input channels meet those of the weight; a group's channels go together."""
    layer = convolution(node)
    if layer.weight.op != "parameter" and not layer.apart:
        return flow.unknown(node, "its weight is computed")
    channels = along(flow.tied(layer.x, layer.channel), layer.channel)
    if channels is None:
        return flow.unknown(node, f"its channels are not along axis {layer.channel}")
    if layer.weight.op != "parameter":
        return _apart(flow, node, layer, channels)
    channels = _pinned(channels)
    if layer.groups == 1:
        flow.union.join(channels, flow.axis(layer.weight, layer.input_axis))
        out = flow.axis(layer.weight, layer.output_axis)
    else:
        out = _grouped(flow, layer, channels)
    if layer.bias is not None:
        flow.union.join(out, flow.read(layer.bias))
    return spread(out, layer.channel, node.shape)


def _apart(flow: Labelling, node: Node, layer: Layer, channels: Tensor) -> Tensor:
    """A kernel that is computed, or one for all (BlurPool), on each channel for itself."""
    kernels = flow.tied(layer.weight, 0)
    if varies(kernels, 0):
        flow.union.join(channels, along(kernels, 0))  # type: ignore[arg-type]
    else:
        flow.pin(kernels, f"{node.place}: one kernel for all channels")
    if layer.bias is not None:
        flow.union.join(channels, flow.read(layer.bias))
    return spread(flow.union.find(channels), layer.channel, node.shape)


def _grouped(flow: Labelling, layer: Layer, channels: Tensor) -> Tensor:
    """A group's channels, in and out, go together; or, where it is thinned, those at the same place of each group."""
    first = flow.axis(layer.weight, 0)  # output channels, or input channels of a transposed convolution
    if layer.weight.target in flow.thinned:
        second = flow.axis(layer.weight, 1)  # of one group
        places = first.view(layer.groups, -1)
        flow.union.join(places, places[:1])
        flow.union.join(channels.view(layer.groups, -1), places if layer.transposed else second[None])
        return flow.union.find(second.repeat(layer.groups) if layer.transposed else first)
    if layer.transposed:
        flow.union.join(channels, first)
        out = first.view(layer.groups, -1)[:, :1].expand(-1, layer.weight.shape[1]).flatten()
    else:
        out = first
    together = torch.cat([channels.view(layer.groups, -1), out.view(layer.groups, -1)], 1)  # (groups, of one)
    flow.union.join(together, _first(together))
    return out


def product_rule(flow: Labelling, node: Node) -> Any:
    """Of a linear layer, or of two activations."""
    layer = product(node)
    if layer is None:
        return _matmul(flow, node)
    if layer.weight.op != "parameter":
        return flow.unknown(node, "its weight is computed")
    x, last = flow.read(layer.x), layer.channel
    inside, outside = flow.axis(layer.weight, layer.input_axis), flow.axis(layer.weight, layer.output_axis)
    channels = along(x, last)
    if channels is not None and (varies(x, last) or not varying(x)):
        flow.union.join(_pinned(channels), inside)
        if layer.bias is not None:
            flow.union.join(outside, flow.read(layer.bias))
        return spread(outside, last, node.shape)
    if varies(x, last):
        return flow.unknown(node, "its channels are along several axes")
    for labels in (inside, outside):  # it acts over places, each channel for itself
        flow.pin(labels, f"{node.place}: acts over places, not channels")
    return x.narrow(last, 0, 1).expand(node.shape)


def _matmul(flow: Labelling, node: Node) -> Any:
    if len(node.inputs) != 2 or any(len(read.shape) < 2 for read in node.inputs):
        return flow.unknown(node, "a product of two activations")
    a, b = (flow.read(read) for read in node.args[:2])
    batch = tuple(node.shape[:-2])
    a, b = a.expand(*batch, *a.shape[-2:]), b.expand(*batch, *b.shape[-2:])
    heads = sorted({axis for x in (a, b) for axis in varying(x) if axis < len(batch)})
    if heads:
        return _per_head(flow, [a, b], heads, node.shape)
    row, column = len(batch), len(batch) + 1
    if varying(a) == [column] and varying(b) == [row]:
        flow.union.join(along(a, column), along(b, row))  # type: ignore[arg-type]
        return full(NEUTRAL, node.shape, torch.int64)
    if varying(a) == [row] and varying(b) == [row]:  # summed over what only one of both has channels along
        flow.pin(b, f"{node.place}: sums what the other has no channels along")
        b = flow.union.find(b)
    if varying(a) == [column] and varying(b) == [column]:
        flow.pin(a, f"{node.place}: sums what the other has no channels along")
        a = flow.union.find(a)
    if varying(a) == [row] and varying(b) == [
        column
    ]:  # rows such as learned queries, and channels: one of both is cut
        fewer = min(a, b, key=lambda labels: torch.unique(shrunk(labels)).numel())
        flow.pin(fewer, f"{node.place}: a product of two activations")
        a, b = flow.union.find(a), flow.union.find(b)
    if not varying(a) and column in varying(b) and row not in varying(b):
        return b.narrow(row, 0, 1).expand(node.shape)
    if not varying(b) and row in varying(a) and column not in varying(a):
        return a.narrow(column, 0, 1).expand(node.shape)
    if not varying(a) and not varying(b):
        flow.union.join_all(torch.stack([shrunk(a).flatten()[0], shrunk(b).flatten()[0]]))
        return full(NEUTRAL, node.shape, torch.int64)
    return flow.unknown(node, "a product of two activations")


def attention_rule(flow: Labelling, node: Node) -> Any:
    """All that belongs to one head is one channel."""
    query, key, value = (flow.read(read) for read in node.args[:3])
    heads = sorted({a for x in (query, key, value) for a in varying(x) if a < x.dim() - 2})
    masks = [flow.read(mask) for mask in node.inputs[3:]]
    wide = [mask.expand(*node.shape[:-2], *mask.shape[-2:]) for mask in masks]
    biases = [mask for mask in wide if varying(mask) and set(varying(mask)) <= set(heads)]
    for mask in wide:
        if not any(mask is bias for bias in biases):
            flow.pin(mask, f"{node.place}: a mask")
    if not heads:
        flow.union.join(_last(query), _last(key))
        for labels in (query, key):  # the scale of the scores depends on their number
            flow.pin(labels, f"{node.place}: scores are scaled by the number of channels")
        return value.narrow(-2, 0, 1).expand(node.shape)
    if query.shape[:-2] != key.shape[:-2]:
        return flow.unknown(node, "queries share their keys")
    return _per_head(flow, [query, key, value, *biases], heads, node.shape)


def _per_head(flow: Labelling, parts: list[Tensor], heads: list[int], shape: tuple[int, ...]) -> Tensor:
    """All that belongs to one attention head is one channel."""
    sizes = [shape[axis] if axis in heads else 1 for axis in range(len(shape) - 2)]
    label = flow.union.fresh(torch.Size(sizes).numel()).view(*sizes, 1, 1)
    for part in parts:
        flow.union.join(part, label)
    return flow.union.find(label.expand(shape))


def _pinned(channels: Tensor) -> Tensor:
    """Channels without a label, such as constants, are there to stay."""
    return torch.where(channels < 0, PINNED, channels)


def _first(groups: Tensor) -> Tensor:
    """A label of each row, (rows, 1)."""
    return groups.amax(1, keepdim=True)


def _last(x: Tensor) -> Tensor:
    """The labels with all axes but the last cut to the first place."""
    return x[(*([0] * (x.dim() - 1)), slice(None))]
