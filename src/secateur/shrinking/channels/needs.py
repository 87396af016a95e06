"""Which elements of a trace the outputs depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels import operations as ops
from secateur.shrinking.channels.compressed import compress, full, jointly, rows, shrunk, spread
from secateur.shrinking.channels.layers import Layer, adds_up, convolution, product, spatial_axes
from secateur.shrinking.channels.trace import Node, moved_by
from secateur.shrinking.channels.values import Values, kernel_sums


class Needs:
    """Bool tensors of each node's shape: True where an output depends on the element.

    Args:
        values: The constants; what gives a constant needs nothing.
        fixed: Nodes whose value depends on no input and no parameter.
        state: Name to parameter or buffer; a weight of zero needs nothing.
    """

    def __init__(self, values: Values, fixed: Mapping[Node, Tensor], state: Mapping[str, Tensor]) -> None:
        self.values, self.fixed, self.state = values, fixed, state
        self.of: dict[Node, Any] = {}

    def add(self, node: Node, need: Tensor, part: int | None = None) -> None:
        """Some more elements of ``node`` are needed; ``need`` is broadcast to its shape or summed up to it."""
        shape = node.shape if part is None else node.shape[part]
        need = _gathered(need, shape)
        if part is not None:
            slots = self.of.setdefault(node, [None] * len(node.shape))
            slots[part] = need if slots[part] is None else _either(slots[part], need)
        else:
            self.of[node] = _either(self.of[node], need) if node in self.of else need

    def all_of(self, node: Node) -> None:
        """All that goes into ``node`` is needed."""
        for read in node.inputs:
            if read.shape and isinstance(read.shape[0], tuple):
                for part, shape in enumerate(read.shape):
                    self.add(read, full(True, shape, torch.bool), part)
            else:
                self.add(read, full(True, read.shape, torch.bool))

    def live(self, node: Node) -> list[Tensor]:
        """What of each result of ``node`` is needed and not constant."""
        needs = self.of.get(node)
        if needs is None:
            return []
        several = isinstance(needs, list)
        pairs = zip(needs, self.values[node], strict=True) if several else [(needs, self.values[node])]
        found: list[Tensor] = []
        for need, value in pairs:
            if need is None:
                need = full(False, value.shape, torch.bool)
            a, b = jointly([need, value], value.shape)
            found.append((a & b.isnan()).expand(value.shape))
        return found


def needed(
    nodes: Sequence[Node], values: Values, fixed: Mapping[Node, Tensor], state: Mapping[str, Tensor]
) -> Needs:
    """Walks back from the outputs to all that they depend on."""
    needs = Needs(values, fixed, state)
    for node in reversed(nodes):
        if node.op == "output":
            needs.all_of(node)
        elif node.call is not None:
            live = needs.live(node)
            if any(bool(shrunk(part).any()) for part in live):
                rule = next((rule for names, rule in _RULES if node.op in names), _unknown)
                rule(needs, node, live)
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
    groups = _any_but(live[0], 1).view(node.args[1], -1).any(1)
    per_channel = groups[:, None].expand(-1, x.shape[1] // node.args[1]).flatten()
    needs.add(x, spread(per_channel, 1, x.shape))


def _layer(needs: Needs, layer: Layer, live: list[Tensor]) -> None:
    outputs = _any_but(live[0], layer.channel).view(layer.groups, -1, 1)
    _, used = kernel_sums(layer, needs.state[layer.weight.target])
    inputs = (used & outputs).any(1).flatten()
    needs.add(layer.x, spread(inputs, layer.channel, layer.x.shape))


def _convolution(needs: Needs, node: Node, live: list[Tensor]) -> None:
    layer = convolution(node)
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
    rows_used, columns_used = _any(live[0], -1), _any(live[0], -2)
    left = _any(needs.values[a] != 0, -2)  # (..., 1, inner): what meets zeros alone adds nothing
    right = _any(needs.values[b] != 0, -1).transpose(-1, -2)
    inner = left & right
    needs.add(a, (rows_used & inner).expand(*batch, *a.shape[-2:]))
    needs.add(b, (columns_used & inner.transpose(-1, -2)).expand(*batch, *b.shape[-2:]))
    return None


def _attention(needs: Needs, node: Node, live: list[Tensor]) -> None:
    query, key, value = node.args[:3]
    if len({tuple(part.shape[:-2]) for part in (query, key, value)}) > 1:
        return needs.all_of(node)
    head = _any(_any(live[0], -1), -2)
    for read in node.inputs[3:]:
        needs.add(read, full(True, read.shape, torch.bool))
    for read in (query, key):
        needs.add(read, head.expand(read.shape))
    needs.add(value, _any(live[0], -2).expand(value.shape))
    return None


def _move(needs: Needs, node: Node, live: list[Tensor]) -> None:
    moved = node.inputs if isinstance(node.args[0], (list, tuple)) else node.inputs[:1]
    if any(read not in moved and read not in needs.fixed for read in node.inputs):
        return needs.all_of(node)
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


def _spatial(needs: Needs, node: Node, live: list[Tensor]) -> None:
    x, need = node.args[0], live[0]
    for axis in spatial_axes(node, tuple(need.shape)):
        need = _any(need, axis)
    needs.add(x, need.expand(x.shape))
    for read in node.inputs[1:]:
        needs.add(read, full(True, read.shape, torch.bool))


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
    needs.add(node.args[0], _any(live[0], axis).expand(node.shape))


def _getitem(needs: Needs, node: Node, live: list[Tensor]) -> None:
    needs.add(node.args[0], live[0], node.args[1])


def _any(x: Tensor, axis: int) -> Tensor:
    """Whether anything along ``axis`` is True; the axis stays, with size 1."""
    shape = list(x.shape)
    shape[axis] = 1
    return shrunk(x).any(axis, keepdim=True).expand(shape)


def _any_but(x: Tensor, axis: int) -> Tensor:
    """Per index along ``axis``, whether anything is True."""
    return rows(x, axis).any(1)


def _gathered(need: Tensor, shape: Sequence[int]) -> Tensor:
    """``need``, broadcast, back at ``shape``: True where any of the copies is."""
    while need.dim() > len(shape):
        need = _any(need, 0)[0]
    for axis, size in enumerate(shape):
        if need.shape[axis] != size and size == 1:
            need = _any(need, axis)
    return compress(need.expand(tuple(shape)))


def _either(a: Tensor, b: Tensor) -> Tensor:
    x, y = jointly([a, b], a.shape)
    return compress((x | y).expand(a.shape))


_RULES: list[tuple[frozenset[str], Callable[[Needs, Node, list[Tensor]], None]]] = [
    (ops.POINTWISE | ops.DECISIONS, _pointwise),
    (ops.CONVOLUTIONS, _convolution),
    (ops.PRODUCTS | {"linear"}, _product),
    (ops.BATCH_NORMS | {"prelu"}, _batch_norm),
    (frozenset({"group_norm"}), _group_norm),
    (ops.MOVES, _move),
    (ops.SPATIAL, _spatial),
    (ops.REDUCTIONS, _reduction),
    (ops.MIXINGS, _mixing),
    (frozenset({"scaled_dot_product_attention"}), _attention),
    (frozenset({"getitem"}), _getitem),
]
