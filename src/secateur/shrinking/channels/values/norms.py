"""The constants of normalisations: what is constant is its own mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels.compressed import compress, full, jointly, spread, varies
from secateur.shrinking.channels.node import Node
from secateur.shrinking.channels.values.pointwise import CANCELLED, Values, unknown


def batch_norm(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    """With the statistics that it holds, or those of the batch or, for ``instance_norm``, of each of its images."""
    x = values[node.args[0]]
    weight, bias = (values[p] if isinstance(p, Node) else None for p in node.args[1:3])
    mean, variance = (values[p] if isinstance(p, Node) else None for p in node.args[3:5])
    of_each = node.op == "instance_norm"
    eps = node.args[7] if of_each or node.op == "batch_norm" else node.args[-1]
    trains = node.op != "_native_batch_norm_legit_no_training"
    if mean is None or variance is None or (trains and node.args[5]):
        axes = [axis for axis in range(x.dim()) if axis != 1 and not (of_each and axis == 0)]
        out = torch.full_like(x, torch.nan) if any(varies(x, axis) for axis in axes) else x * 0
        values.soft.add(node)
    else:
        x, mean, variance = jointly([x, spread(mean, 1, x.shape), spread(variance, 1, x.shape)], x.shape)
        away = x - mean
        if bool((away.abs() < CANCELLED * x.abs()).any()):
            values.soft.add(node)
        out = away / (variance + eps).sqrt()
    out = _scaled(out.expand(values[node.args[0]].shape), weight, bias, 1)
    several = node.shape and isinstance(node.shape[0], tuple)
    return [out, *(full(torch.nan, s, torch.float64) for s in node.shape[1:])] if several else out


def group_norm(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Tensor:
    """Of a group whose channels are all constant."""
    values.soft.add(node)
    x = values[node.args[0]]
    weight, bias = (values[p] if isinstance(p, Node) else None for p in _two(node, 2))
    out = torch.full_like(x, torch.nan)
    if not any(varies(x, axis) for axis in range(2, x.dim())):
        small = x
        for axis in range(2, x.dim()):
            small = small.narrow(axis, 0, 1)
        groups = small.reshape(x.shape[0], node.args[1], -1)
        out = _normalised(groups, node.argument(4, "eps", 1e-5)).view(small.shape)
    return _scaled(out.expand(x.shape), weight, bias, 1)


def row_norm(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    """Layer and RMS norm, of rows that are all constant."""
    values.soft.add(node)
    x, axes = values[node.args[0]], list(range(-len(node.args[1]), 0))
    if node.op == "rms_norm":
        weight, bias = node.argument(2, "weight"), None
        eps = node.argument(3, "eps")
        if eps is None:
            zero = (x == 0).all(axes, keepdim=True) if axes else x == 0  # else it is that of the type
            return compress(torch.where(zero, 0.0, torch.nan).double().expand(x.shape))
        out = x / (x.square().mean(axes, keepdim=True) + eps).sqrt()
    else:
        weight, bias = _two(node, 2)
        eps = node.argument(4, "eps", 1e-5)
        away = x - x.mean(axes, keepdim=True)
        same = (x == x[(..., *[slice(0, 1)] * len(axes))]).all(tuple(axes), keepdim=True)
        out = torch.where(same, 0.0, away / (away.square().mean(axes, keepdim=True) + eps).sqrt())
    if isinstance(weight, Node):
        out = torch.where(values[weight] == 0, 0.0, out * values[weight])
    out = out + values[bias] if isinstance(bias, Node) else out
    return compress(out.expand(x.shape)) if node.dtype is not None else unknown(node)


def _two(node: Node, first: int) -> tuple[Any, Any]:
    return node.argument(first, "weight"), node.argument(first + 1, "bias")


def _normalised(rows: Tensor, eps: float) -> Tensor:
    away = rows - rows.mean(-1, keepdim=True)
    away = torch.where((rows == rows[..., :1]).all(-1, keepdim=True), 0.0, away)
    return away / (away.square().mean(-1, keepdim=True) + eps).sqrt()


def _scaled(out: Tensor, weight: Tensor | None, bias: Tensor | None, axis: int) -> Tensor:
    """Times the weight, plus the bias; with a weight of zero whatever ``out`` is."""
    shape = out.shape
    if weight is not None:
        out, wide = jointly([compress(out), spread(weight, axis, shape)], shape)
        out = torch.where(wide == 0, 0.0, out * wide)
    if bias is not None:
        out, wide = jointly([compress(out.expand(shape)), spread(bias, axis, shape)], shape)
        out = out + wide
    return compress(out.expand(shape))
