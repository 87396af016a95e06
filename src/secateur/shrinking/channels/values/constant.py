"""Which elements of a trace are constant whatever the input, and their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels import operations as ops
from secateur.shrinking.channels.compressed import compress, shrunk, spread, varies
from secateur.shrinking.channels.layers import idle
from secateur.shrinking.channels.moves import anywhere
from secateur.shrinking.channels.node import Node, moved_by
from secateur.shrinking.channels.values.fixed import widened
from secateur.shrinking.channels.values.norms import batch_norm, group_norm, row_norm
from secateur.shrinking.channels.values.pointwise import (
    Values,
    native_dropout,
    pointwise,
    prelu,
    real,
    triangle,
    unknown,
)
from secateur.shrinking.channels.values.spatial import mixing, ranking, reduction, spatial
from secateur.shrinking.channels.values.weighted import convolution_values, product_values

_ENDS = ("parameter", "buffer")


@torch.no_grad()
def constant_values(
    nodes: Sequence[Node],
    state: Mapping[str, Tensor],
    fixed: Mapping[Node, Tensor],
    given: Mapping[Node, Tensor] | None = None,
) -> Values:
    """The constant elements of every node: NaN where an element depends on the input.

    Args:
        nodes: Of a trace.
        state: Name to parameter or buffer.
        fixed: Nodes whose value depends on no input and no parameter.
        given: What is known of other nodes that the trace reads.
    """
    values = Values(given or {})
    exact = widened(nodes, fixed)
    for node in nodes:
        if node.op in _ENDS:
            values[node] = compress(real(state[node.target].detach().cpu()))
        elif node in fixed:
            values[node] = compress(real(exact[node]))
        elif node.op != "output":
            values[node] = _rule(node)(values, node, fixed)
            if any(read in values.soft for read in node.inputs):
                values.soft.add(node)
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

    found = Values()
    for node, value in values.items():
        if node.op in _ENDS:
            found[node] = value
        else:
            found[node] = [zeros(v) for v in value] if isinstance(value, list) else zeros(value)
    return found


def nothing_known(values: Values, fixed: Mapping[Node, Tensor]) -> Values:
    """The same as if nothing were constant but parameters, buffers and what is made of literals."""
    return Values(
        {n: value if n.op in _ENDS or n in fixed else unknown(n) for n, value in values.items()},
    )


def _move(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    moved = node.inputs if isinstance(node.args[0], (list, tuple)) else node.inputs[:1]
    if any(read not in moved and read not in fixed for read in node.inputs):
        found = anywhere(node, values[moved[0]])
        return _unknown(values, node, fixed) if found is None else found
    after = moved_by(node, lambda read: values[read] if read in moved else fixed[read])
    return [compress(part) for part in after] if isinstance(after, (tuple, list)) else compress(after)


def _attention(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Tensor:
    value = values[node.args[2]]
    if node.argument(4, "dropout_p", 0.0):
        value = compress(torch.where(value == 0, 0.0, torch.nan))
    if varies(value, value.dim() - 2) or tuple(node.shape[:-2]) != tuple(value.shape[:-2]):
        return unknown(node)
    return compress(value.narrow(-2, 0, 1).expand(node.shape))  # scores add up to one


def _getitem(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    return values[node.args[0]][node.args[1]]


def _embedding(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    """A column that is the same in all rows is a constant."""
    table = values[node.args[0]]
    row = torch.where((table == table[:1]).all(0), table[0], torch.nan)
    return compress(spread(row, len(node.shape) - 1, node.shape))


def _rule(node: Node) -> Callable[[Values, Node, Mapping[Node, Tensor]], Any]:
    if idle(node):
        return _unknown
    if node.op in ops.RANKINGS and len(node.inputs) == 1:
        return ranking
    found = next((rule for names, rule in _RULES if node.op in names), None)
    return found or (pointwise if ops.tagged(node.call) else _unknown)


def _unknown(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    return unknown(node)


_RULES: list[tuple[frozenset[str], Callable[[Values, Node, Mapping[Node, Tensor]], Any]]] = [
    (ops.POINTWISE, pointwise),
    (frozenset({"prelu"}), prelu),
    (ops.CONVOLUTIONS, convolution_values),
    (ops.PRODUCTS | {"linear"}, product_values),
    (ops.BATCH_NORMS, batch_norm),
    (frozenset({"group_norm"}), group_norm),
    (frozenset({"layer_norm", "rms_norm"}), row_norm),
    (ops.MOVES, _move),
    (ops.SPATIAL, spatial),
    (ops.REDUCTIONS, reduction),
    (ops.MIXINGS, mixing),
    (ops.TRIANGLES, triangle),
    (frozenset({"scaled_dot_product_attention"}), _attention),
    (frozenset({"native_dropout"}), native_dropout),
    (frozenset({"embedding"}), _embedding),
    (frozenset({"getitem"}), _getitem),
]
