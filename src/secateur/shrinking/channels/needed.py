"""How an operation that gives something needed needs what it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels import operations as ops
from secateur.shrinking.channels.compressed import full, jointly, shrunk, spread
from secateur.shrinking.channels.layers import (
    Layer,
    adds_up,
    convolution,
    idle,
    product,
    ranked_axes,
    spatial_axes,
)
from secateur.shrinking.channels.moves import anywhere, picked
from secateur.shrinking.channels.needs import Needs, any_along, any_but, either
from secateur.shrinking.channels.node import Node, moved_by
from secateur.shrinking.channels.recurrent import recurrent_needs
from secateur.shrinking.channels.stacked import grouped_needs
from secateur.shrinking.channels.values import Values, kernel_sums


def needed(
    nodes: Sequence[Node], values: Values, fixed: Mapping[Node, Tensor], state: Mapping[str, Tensor]
) -> Needs:
    """Walks back from the outputs to all that they depend on."""
    needs = Needs(values, fixed, state)
    for node in reversed(nodes):
        needs.reader = node
        if node.op == "output":
            needs.all_of(node)
        elif node.call is not None:
            if idle(node):
                needs.all_of(node)
                continue
            live = needs.live(node)
            if any(bool(shrunk(part).any()) for part in live):
                rule = next((rule for names, rule in _RULES if node.op in names), None)
                (rule or (_pointwise if ops.tagged(node.call) else _unknown))(needs, node, live)
    return needs


def _unknown(needs: Needs, node: Node, live: list[Tensor]) -> None:
    needs.all_of(node)


def _pointwise(needs: Needs, node: Node, live: list[Tensor]) -> None:
    for read in node.inputs:
        needs.add(read, live[0])


def _batch_norm(needs: Needs, node: Node, live: list[Tensor]) -> None:
    needs.add(node.args[0], live[0])


def _group_norm(needs: Needs, node: Node, live: list[Tensor]) -> None:
    x = node.args[0]
    groups = any_but(live[0], 1).view(node.args[1], -1).any(1)
    per_channel = groups[:, None].expand(-1, x.shape[1] // node.args[1]).flatten()
    needs.add(x, spread(per_channel, 1, x.shape))


def _row_norm(needs: Needs, node: Node, live: list[Tensor]) -> None:
    x, need = node.args[0], live[0]
    for axis in range(-len(node.args[1]), 0):
        need = any_along(need, axis)
    needs.add(x, need)
    for read in node.inputs[1:]:
        needs.add(read, full(True, read.shape, torch.bool))


def _layer(needs: Needs, layer: Layer, live: list[Tensor]) -> None:
    outputs = any_but(live[0], layer.channel).view(layer.groups, -1, 1)
    _, used = kernel_sums(layer, needs.state[layer.weight.target])
    inputs = (used & outputs).any(1).flatten()
    needs.add(layer.x, spread(inputs, layer.channel, layer.x.shape))


def _convolution(needs: Needs, node: Node, live: list[Tensor]) -> None:
    layer = convolution(node)
    if layer.weight.op != "parameter" and layer.apart:
        outputs = any_but(live[0], layer.channel)
        needs.add(layer.x, spread(outputs, layer.channel, layer.x.shape))
        needs.add(layer.weight, spread(outputs, 0, layer.weight.shape))
        return None if layer.bias is None else needs.add(layer.bias, outputs)
    if layer.weight.op != "parameter":
        return needs.all_of(node)
    return _layer(needs, layer, live)


def _product(needs: Needs, node: Node, live: list[Tensor]) -> None:
    layer = product(node)
    if (
        layer is not None
    ):  # a computed weight has its axes the other way round than a product's second operand
        return _layer(needs, layer, live) if layer.weight.op == "parameter" else needs.all_of(node)
    if len(node.inputs) != 2 or any(len(read.shape) < 2 for read in node.inputs):
        return needs.all_of(node)
    a, b = node.args[:2]
    batch = tuple(node.shape[:-2])
    rows_used, columns_used = any_along(live[0], -1), any_along(live[0], -2)
    left = any_along(
        (needs.values[a] != 0) & rows_used, -2
    )  # (..., 1, inner): what meets zeros alone adds nothing
    right = any_along((needs.values[b] != 0) & columns_used, -1).transpose(-1, -2)
    inner = left & right
    needs.add(a, (rows_used & inner).expand(*batch, *a.shape[-2:]))
    needs.add(b, (columns_used & inner.transpose(-1, -2)).expand(*batch, *b.shape[-2:]))
    return None


def _attention(needs: Needs, node: Node, live: list[Tensor]) -> None:
    query, key, value = node.args[:3]
    if len({tuple(part.shape[:-2]) for part in (query, key, value)}) > 1:
        return needs.all_of(node)
    head = any_along(any_along(live[0], -1), -2)
    for mask in node.inputs[3:]:
        needs.add(mask, head.expand(*node.shape[:-2], *mask.shape[-2:]))
    for read in (query, key):
        needs.add(read, head.expand(read.shape))
    needs.add(value, any_along(live[0], -2).expand(value.shape))
    return None


def _move(needs: Needs, node: Node, live: list[Tensor]) -> None:
    moved = node.inputs if isinstance(node.args[0], (list, tuple)) else node.inputs[:1]
    if any(read not in moved and read not in needs.fixed for read in node.inputs):
        return _looked_up(needs, node, live[0])
    places: dict[Node, Tensor] = {}
    start = 0
    for read in moved:  # the number of every element
        count = torch.Size(read.shape).numel()
        places[read] = torch.arange(start, start + count).view(read.shape)
        start += count
    after = moved_by(node, lambda read: places[read] if read in places else needs.fixed[read])
    hit = torch.zeros(start, dtype=torch.bool)
    for part, need in zip(after if isinstance(after, (tuple, list)) else [after], live, strict=True):
        hit[part[need]] = True
    for read, place in places.items():
        needs.add(read, hit[place])
    return None


def _looked_up(needs: Needs, node: Node, need: Tensor) -> None:
    x: Any = node.args[0]
    shape = list(x.shape) if isinstance(x, Node) else []
    for axis in picked(node, len(shape)):
        shape[axis] = 1
    numbers = torch.arange(torch.Size(shape).numel()).view(shape)  # those of the channels alone
    found = anywhere(node, numbers.expand(x.shape)) if isinstance(x, Node) else None
    if found is None:
        return needs.all_of(node)
    hit = torch.zeros(numbers.numel(), dtype=torch.bool)
    hit[found[need]] = True
    needs.add(x, hit[numbers].expand(x.shape))
    for read in node.inputs[1:]:
        needs.add(read, full(True, read.shape, torch.bool))
    return None


def _spatial(needs: Needs, node: Node, live: list[Tensor]) -> None:
    x, need = node.args[0], _whole(live)
    for axis in spatial_axes(node, tuple(need.shape)):
        need = any_along(need, axis)
    needs.add(x, need.expand(x.shape))
    for read in node.inputs[1:]:  # of an unpooling each channel has its own places
        needs.add(read, need.expand(x.shape) if "unpool" in node.op else full(True, read.shape, torch.bool))


def _reduction(needs: Needs, node: Node, live: list[Tensor]) -> None:
    x, need = node.args[0], live[0]
    if need.dim() < len(x.shape):
        axes = node.argument(2 if "norm" in node.op else 1, "dim")
        axes = list(range(len(x.shape))) if axes in (None, []) else [axes] if isinstance(axes, int) else axes
        for axis in sorted(a % len(x.shape) for a in axes):
            need = need.unsqueeze(axis)
    need = need.expand(x.shape)
    if adds_up(node):
        a, b = jointly([need, needs.values[x] != 0], x.shape)
        need = (a & b).expand(x.shape)
    needs.add(x, need)


def _mixing(needs: Needs, node: Node, live: list[Tensor]) -> None:
    axis = node.argument(1, "dim", -1)
    needs.add(node.args[0], any_along(live[0], axis).expand(node.shape))


def _ranking(needs: Needs, node: Node, live: list[Tensor]) -> None:
    if len(node.inputs) > 1:
        return _pointwise(needs, node, live)
    x, need = node.args[0], _whole(live)
    if need.dim() < len(x.shape):
        for axis in ranked_axes(node):
            need = need.unsqueeze(axis)
    for axis in ranked_axes(node):
        need = any_along(need, axis).narrow(axis, 0, 1)
    return needs.add(x, need.expand(x.shape))


def _dropout(needs: Needs, node: Node, live: list[Tensor]) -> None:
    needs.add(node.args[0], _whole(live))


def _whole(live: list[Tensor]) -> Tensor:
    """What is needed of any of several results of one shape."""
    found = live[0]
    for part in live[1:]:
        found = either(found, part)
    return found


def _getitem(needs: Needs, node: Node, live: list[Tensor]) -> None:
    needs.add(node.args[0], live[0], node.args[1])


_RULES: list[tuple[frozenset[str], Callable[[Needs, Node, list[Tensor]], None]]] = [
    (ops.POINTWISE | ops.TRIANGLES, _pointwise),
    (ops.CONVOLUTIONS, _convolution),
    (ops.PRODUCTS | {"linear"}, _product),
    (ops.BATCH_NORMS | {"prelu"}, _batch_norm),
    (frozenset({"group_norm"}), _group_norm),
    (frozenset({"layer_norm", "rms_norm"}), _row_norm),
    (ops.MOVES, _move),
    (ops.SPATIAL, _spatial),
    (ops.REDUCTIONS, _reduction),
    (ops.MIXINGS, _mixing),
    (ops.RANKINGS, _ranking),
    (frozenset({"native_dropout"}), _dropout),
    (ops.UNROLLED, recurrent_needs),
    (ops.GROUPED, grouped_needs),
    (frozenset({"scaled_dot_product_attention"}), _attention),
    (frozenset({"getitem"}), _getitem),
]
