"""Which elements of a trace are constant whatever the input, and their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels import operations as ops
from secateur.shrinking.channels.compressed import (
    compress,
    full,
    jointly,
    rows,
    shrunk,
    spread,
    varies,
    varying,
)
from secateur.shrinking.channels.layers import Layer, convolution, idle, product, spatial_axes
from secateur.shrinking.channels.moves import anywhere
from secateur.shrinking.channels.trace import Node, moved_by

Values = dict[Node, Any]  # float64 of the node's shape, NaN where the value depends on the input


@torch.no_grad()
def constant_values(
    nodes: Sequence[Node], state: Mapping[str, Tensor], fixed: Mapping[Node, Tensor]
) -> Values:
    """The constant elements of every node: NaN where an element depends on the input.

    Args:
        nodes: Of a trace.
        state: Name to parameter or buffer.
        fixed: Nodes whose value depends on no input and no parameter.
    """
    values: Values = {}
    for node in nodes:
        if node.op in ("parameter", "buffer"):
            values[node] = compress(state[node.target].detach().cpu().double())
        elif node in fixed:
            values[node] = compress(fixed[node].double())
        elif node.op != "output":
            rule = next((r for names, r in _RULES if node.op in names and not idle(node)), _unknown)
            values[node] = rule(values, node, fixed)
    return values


def constant_outputs(nodes: Sequence[Node], values: Values) -> list[int]:
    """The numbers of the network's outputs that do not depend on its input."""
    outputs = [read for node in nodes if node.op == "output" for read in node.reads]
    return [
        i for i, node in enumerate(outputs) if node in values and not bool(shrunk(values[node]).isnan().any())
    ]


def zeros_alone(values: Values) -> Values:
    """The same as if zeros were the only constants that are known."""

    def zeros(value: Tensor) -> Tensor:
        return compress(torch.where(value == 0, 0.0, torch.nan).double().expand(value.shape))

    ends = ("parameter", "buffer")
    return {
        node: value
        if node.op in ends
        else [zeros(v) for v in value]
        if isinstance(value, list)
        else zeros(value)
        for node, value in values.items()
    }


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
    if layer.bias is not None:
        out = out + values[layer.bias]
    out = torch.where((used & spoilt).any(-1).flatten(), torch.nan, out)
    return compress(spread(out, layer.channel, node.shape))


def _convolution(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Tensor:
    return _layer(values, convolution(node), node)


def _product(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    layer = product(node)
    if layer is not None:
        return _layer(values, layer, node)
    if len(node.inputs) != 2 or any(len(read.shape) < 2 for read in node.inputs):
        return _unknown(values, node, fixed)
    a, b = (values[read] for read in node.args[:2])
    zero = (a == 0).all(-1)[..., :, None] | (b == 0).all(-2)[..., None, :]
    return compress(torch.where(zero, 0.0, torch.nan).double().expand(node.shape))


def _pointwise(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Tensor:
    reads = node.inputs
    small = dict(zip(reads, jointly([values[r] for r in reads], node.shape), strict=True))
    exact = {r: small[r].to(fixed[r].dtype) if r in fixed else small[r] for r in reads}
    out = node.run(exact.__getitem__).double()
    zeros = list(small.values()) if node.op == "mul" else [small[reads[0]]] if _divides(node) else []
    for operand in zeros:
        out = torch.where(operand == 0, 0.0, out)
    return compress(out.expand(node.shape))


def _divides(node: Node) -> bool:
    """Whether zeros of the first operand stay zeros; what they are divided by is no constant zero."""
    return node.op == "div" and len(node.inputs) == 2 and node.inputs[0] is node.args[0]


def _decision(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Tensor:
    chooser = {"where": 0, "masked_fill": 1}.get(node.op)
    if chooser is not None and node.args[chooser] in fixed:
        return _pointwise(values, node, fixed)
    return full(torch.nan, node.shape, torch.float64)


def _batch_norm(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    several = node.shape and isinstance(node.shape[0], tuple)
    x = values[node.args[0]]
    parts = [values[p] if isinstance(p, Node) else None for p in node.args[1:5]]
    weight, bias, mean, variance = (None if p is None else spread(p, 1, x.shape) for p in parts)
    if mean is None or variance is None or node.op == "instance_norm":
        return _unknown(values, node, fixed)
    given = [p for p in (x, weight, bias, mean, variance) if p is not None]
    wide = iter(jointly(given, x.shape))
    x, weight = next(wide), next(wide) if weight is not None else None
    bias = next(wide) if bias is not None else None
    out = (x - next(wide)) / (next(wide) + node.args[-1]).sqrt()
    if weight is not None:
        out = torch.where(weight == 0, 0.0, out * weight)
    out = compress((out if bias is None else out + bias).expand(values[node.args[0]].shape))
    return [out, *(full(torch.nan, s, torch.float64) for s in node.shape[1:])] if several else out


def _move(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    moved = node.inputs if isinstance(node.args[0], (list, tuple)) else node.inputs[:1]
    if any(read not in moved and read not in fixed for read in node.inputs):
        found = anywhere(node, values[moved[0]])
        return _unknown(values, node, fixed) if found is None else found
    after = moved_by(node, lambda read: values[read] if read in moved else fixed[read])
    return [compress(part) for part in after] if isinstance(after, (tuple, list)) else compress(after)


def _spatial(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    x = values[node.args[0]]
    several = node.shape and isinstance(node.shape[0], tuple)
    shape = node.shape[0] if several else node.shape
    axes = spatial_axes(node, shape)
    if any(varies(x, axis) for axis in axes):
        return _unknown(values, node, fixed)
    out = x
    for axis in axes:
        out = out.narrow(axis, 0, 1)
    if node.op in ("pad", "constant_pad_nd") or node.op.startswith(
        ("avg_pool", "grid_sampler", "max_unpool")
    ):
        border = 0.0
        if node.op in ("pad", "constant_pad_nd"):
            border = float(node.argument(3 if node.op == "pad" else 2, "value", 0.0) or 0.0)
        out = torch.where(out == border, out, torch.nan)  # the border may see what is not there
    out = compress(out.expand(shape))
    return [out, *(full(torch.nan, s, torch.float64) for s in node.shape[1:])] if several else out


def _attention(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Tensor:
    value = values[node.args[2]]
    if varies(value, value.dim() - 2) or tuple(node.shape[:-2]) != tuple(value.shape[:-2]):
        return full(torch.nan, node.shape, torch.float64)
    return compress(value.narrow(-2, 0, 1).expand(node.shape))  # scores add up to one


def _getitem(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    return values[node.args[0]][node.args[1]]


def _reduction(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    x = values[node.args[0]]
    if not varying(x) and bool(shrunk(x).isnan().all()):
        return full(torch.nan, node.shape, torch.float64)
    if node.op not in ("mean", "sum", "amax", "amin"):
        return _unknown(values, node, fixed)
    return compress(node.run(values.__getitem__).double())


def _embedding(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    """A column that is the same in all rows is a constant."""
    table = values[node.args[0]]
    row = torch.where((table == table[:1]).all(0), table[0], torch.nan)
    return compress(spread(row, len(node.shape) - 1, node.shape))


def _unknown(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    if node.shape and isinstance(node.shape[0], tuple):
        return [full(torch.nan, one, torch.float64) for one in node.shape]
    return full(torch.nan, node.shape, torch.float64)


_RULES: list[tuple[frozenset[str], Callable[[Values, Node, Mapping[Node, Tensor]], Any]]] = [
    (ops.POINTWISE, _pointwise),
    (ops.DECISIONS, _decision),
    (ops.CONVOLUTIONS, _convolution),
    (ops.PRODUCTS | {"linear"}, _product),
    (ops.BATCH_NORMS, _batch_norm),
    (ops.MOVES, _move),
    (ops.SPATIAL, _spatial),
    (ops.REDUCTIONS, _reduction),
    (frozenset({"scaled_dot_product_attention"}), _attention),
    (frozenset({"embedding"}), _embedding),
    (frozenset({"getitem"}), _getitem),
]
