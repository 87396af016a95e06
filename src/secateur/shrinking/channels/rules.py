"""How labels pass through each operation: which channels live and die together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels import operations as ops
from secateur.shrinking.channels.compressed import along, compress, full, shrunk, spread, varies, varying
from secateur.shrinking.channels.labelling import NEUTRAL, PINNED, Labelling, shaped
from secateur.shrinking.channels.layers import adds_up, idle, ranked_axes, reduced_axes, spatial_axes
from secateur.shrinking.channels.moves import move_rule
from secateur.shrinking.channels.node import Node
from secateur.shrinking.channels.recurrent import recurrent_rule
from secateur.shrinking.channels.stacked import stack_rule
from secateur.shrinking.channels.weighted_rules import attention_rule, convolution_rule, product_rule

Rule = Callable[[Labelling, Node], Any]


def label(flow: Labelling, node: Node) -> Any:
    """The labels of what ``node`` gives; ties and pins on the way what must be."""
    if node.inputs and all(
        read.op == "parameter" or read in flow.weights or read in flow.fixed for read in node.inputs
    ):
        flow.weights.add(node)
    if node in flow.free:
        return shaped(NEUTRAL, node.shape)
    if idle(node) and node.op != "output":
        return flow.unknown(node, "gets nothing from the example; another input may give it something")
    if node.op == "getitem":
        return flow.of[node.args[0]][node.args[1]]
    if node in flow.stacks:
        return stack_rule(flow, node, flow.stacks[node])
    for names, rule in _RULES:
        if node.op in names:
            return rule(flow, node)
    drawn = flow.training and ops.draws(node.call) and {read.shape for read in node.inputs} <= {node.shape}
    if ops.tagged(node.call) or drawn:
        return _pointwise(flow, node)
    return flow.unknown(node, "an operation that channels are not followed through")


OUTPUT = "an output of the network"
"""Why the channels stay that the network returns."""


def _input(flow: Labelling, node: Node) -> Tensor:
    return full(PINNED, node.shape, torch.int64)


def _check(flow: Labelling, node: Node) -> Tensor:
    return torch.zeros(0, dtype=torch.int64)


def _output(flow: Labelling, node: Node) -> Tensor:
    given = node.args[0]
    written = list(zip(reversed(given), reversed(node.written), strict=False)) if flow.training else []
    returned = [read for read in given[: len(given) - len(written)] if isinstance(read, Node)]
    for read in dict.fromkeys(returned):
        if read not in flow.lost:
            flow.pin(flow.read(read), OUTPUT)
    for read, buffer in written:  # such as running statistics: cut like what they are of
        if buffer and isinstance(read, Node) and read.shape == buffer.shape and read not in flow.lost:
            flow.union.join(flow.read(read), flow.read(buffer))
    return torch.zeros(0, dtype=torch.int64)


def _pointwise(flow: Labelling, node: Node) -> Tensor:
    shape, reads = node.shape, node.inputs
    out = full(NEUTRAL, shape, torch.int64)
    for read in sorted(reads, key=lambda read: torch.unique(shrunk(flow.read(read))).numel()):
        wide = {other: flow.read(other).expand(shape) for other in reads}
        lead = len(shape) - len(read.shape)
        repeated = [a for a, size in enumerate(shape) if size > 1 and (a < lead or read.shape[a - lead] == 1)]
        crossed = [
            (other, a) for other in reads for a in repeated if other is not read and varies(wide[other], a)
        ]
        if (
            crossed
            and varying(wide[read])
            and all(o.op == "parameter" or o in flow.weights for o, _ in crossed)
        ):
            for other, axis in crossed:  # a parameter is cut along one axis: that of the other operand
                flow.union.join(wide[other], wide[other].narrow(axis, 0, 1))
        elif crossed:
            flow.pin(wide[read], f"{node.place}: one channel acts on many")  # a map over places, a mask
            continue
        flow.union.join(out, wide[read])
        out = compress(torch.where(out >= 0, out, flow.union.find(wide[read])))
    return flow.union.find(out)


def _batch_norm(flow: Labelling, node: Node) -> Any:
    x = flow.tied(node.args[0], 1)
    channels = along(x, 1)
    if channels is None:
        return flow.unknown(node, "its channels are not along axis 1")
    for part in node.args[1:5]:
        if isinstance(part, Node):
            flow.union.join(channels, flow.read(part))
    several = node.shape and isinstance(node.shape[0], tuple)
    return [x, *(full(NEUTRAL, shape, torch.int64) for shape in node.shape[1:])] if several else x


def _group_norm(flow: Labelling, node: Node) -> Any:
    x, groups = flow.tied(node.args[0], 1), node.args[1]
    channels = along(x, 1)
    if channels is None:
        return flow.unknown(node, "its channels are not along axis 1")
    for group in channels.view(groups, -1):  # a group shares its mean and variance
        flow.union.join_all(group)
    for index, name in ((2, "weight"), (3, "bias")):
        if isinstance(part := node.argument(index, name), Node):
            flow.union.join(channels, flow.read(part))
    return x


def _layer_norm(flow: Labelling, node: Node) -> Any:
    x, axes = flow.read(node.args[0]), len(node.args[1])
    if any(varies(x, axis) for axis in range(x.dim() - axes, x.dim())):
        flow.pin(x, f"{node.place}: normalises over all channels together")
    for index, name in ((2, "weight"), (3, "bias")):
        if isinstance(part := node.argument(index, name), Node):
            flow.union.join(x, flow.read(part))
    several = node.shape and isinstance(node.shape[0], tuple)
    return [x, *(full(NEUTRAL, shape, torch.int64) for shape in node.shape[1:])] if several else x


def _prelu(flow: Labelling, node: Node) -> Any:
    x, slope = flow.read(node.args[0]), flow.read(node.args[1])
    if slope.numel() > 1:
        channels = along(x, 1)
        if channels is None:
            return flow.unknown(node, "its channels are not along axis 1")
        flow.union.join(channels, slope)
    return x


def _spatial(flow: Labelling, node: Node) -> Any:
    several = node.shape and isinstance(node.shape[0], tuple)
    shape = node.shape[0] if several else node.shape
    axes = spatial_axes(node, shape)
    x = flow.read(node.args[0]) if "pad" in node.op else flow.tied(node.args[0], 1)
    if any(varies(x, axis) for axis in axes) or any(
        size != shape[axis] for axis, size in enumerate(x.shape) if axis not in axes
    ):
        return flow.unknown(node, "its channels lie along a spatial axis")
    for other in node.inputs[1:]:
        flow.pin(flow.read(other), f"{node.place}: one channel acts on many")
    out = x
    for axis in axes:
        out = out.narrow(axis, 0, 1)
    out = out.expand(shape)
    return [out, *(full(NEUTRAL, one, torch.int64) for one in node.shape[1:])] if several else out


def _reduction(flow: Labelling, node: Node) -> Any:
    x = flow.read(node.args[0])
    axes, keep = reduced_axes(node, x.dim())
    for axis in axes:
        if varies(x, axis) and varying(x) == [axis] and adds_up(node) and not flow.alone(x):
            x = full(NEUTRAL, x.shape, torch.int64)  # a channel that is zero adds nothing
            break
        if varies(x, axis) and (
            len(varying(x)) > 1 or flow.alone(x)
        ):  # a sum over branches: their channels meet
            flow.union.join(x, x.narrow(axis, 0, 1))
        elif varies(x, axis):
            flow.pin(x, f"{node.place}: mixes all channels")
        x = flow.read(node.args[0])
    if any(varies(x, axis) for axis in axes):  # constants without a label beside channels
        return flow.unknown(node, "mixes all channels")
    for axis in axes:
        x = x.narrow(axis, 0, 1)
    return x if keep else x.reshape(node.shape) if not varying(x) else _squeezed(x, axes)


def _mixing(flow: Labelling, node: Node) -> Any:
    x = flow.read(node.args[0])
    if varies(x, node.argument(1, "dim", -1) % x.dim()):
        flow.pin(x, f"{node.place}: mixes all channels")
    return flow.read(node.args[0])


def _ranking(flow: Labelling, node: Node) -> Any:
    if len(node.inputs) > 1:
        return _pointwise(flow, node)
    x = flow.read(node.args[0])
    for axis in ranked_axes(node):
        if varies(x, axis):
            flow.pin(x, f"{node.place}: ranks all channels")
            x = flow.read(node.args[0])
        if varies(x, axis):  # constants without a label beside channels
            return flow.unknown(node, "ranks all channels")
        x = x.narrow(axis, 0, 1)
    several = node.shape and isinstance(node.shape[0], tuple)
    shape = node.shape[0] if several else node.shape
    x = x.expand(shape) if len(shape) == x.dim() else _squeezed(x, ranked_axes(node))
    return [x] * len(node.shape) if several else x


def _dropout(flow: Labelling, node: Node) -> list[Tensor]:
    return [flow.read(node.args[0])] * 2  # the second is what was kept


def _embedding(flow: Labelling, node: Node) -> Any:
    if node.args[0].op != "parameter":
        return flow.unknown(node, "its table is computed")
    return spread(flow.axis(node.args[0], 1), len(node.shape) - 1, node.shape)


def _squeezed(x: Tensor, axes: list[int]) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.squeeze(axis)
    return x


_RULES: list[tuple[frozenset[str], Rule]] = [
    (frozenset({"input"}), _input),
    (frozenset({"output"}), _output),
    (ops.CHECKS, _check),
    (ops.POINTWISE | ops.TRIANGLES, _pointwise),
    (ops.CONVOLUTIONS, convolution_rule),
    (ops.PRODUCTS | {"linear"}, product_rule),
    (ops.BATCH_NORMS | ops.UPDATING_NORMS, _batch_norm),
    (frozenset({"group_norm"}), _group_norm),
    (frozenset({"layer_norm", "native_layer_norm", "rms_norm"}), _layer_norm),
    (frozenset({"prelu"}), _prelu),
    (ops.MOVES, move_rule),
    (ops.SPATIAL, _spatial),
    (ops.REDUCTIONS, _reduction),
    (ops.MIXINGS, _mixing),
    (ops.RANKINGS, _ranking),
    (frozenset({"native_dropout"}), _dropout),
    (ops.UNROLLED, recurrent_rule),
    (frozenset({"scaled_dot_product_attention"}), attention_rule),
    (frozenset({"embedding"}), _embedding),
]
