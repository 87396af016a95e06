"""The constants of pooling, padding, resampling, reductions and ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels.compressed import compress, full, varies
from secateur.shrinking.channels.layers import adds_up, ranked_axes, reduced_axes, spatial_axes
from secateur.shrinking.channels.node import Node
from secateur.shrinking.channels.values.pointwise import Values, unknown

_PASSES = {"amax", "amin", "mean"}  # what is the same everywhere comes out
_LOGICAL = {"all", "any"}
_WHERE = {"argmax", "argmin", "argsort"}


def spatial(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    """Of channels that are the same everywhere, and at the border too."""
    x = values[node.args[0]]
    several = node.shape and isinstance(node.shape[0], tuple)
    shape = node.shape[0] if several else node.shape
    axes = spatial_axes(node, shape)
    if any(varies(x, axis) for axis in axes):
        return unknown(node)
    out = x
    for axis in axes:
        out = out.narrow(axis, 0, 1)
    seen = beyond(node)
    if seen is not None:
        out = torch.where(out == seen, out, torch.nan)
    out = compress(out.expand(shape))
    return [out, *(full(torch.nan, s, torch.float64) for s in node.shape[1:])] if several else out


def beyond(node: Node) -> float | None:
    """What a spatial operation sees beyond the border; None where it sees nothing else than what is inside."""
    if node.op in ("pad", "constant_pad_nd"):
        mode = node.argument(2, "mode", "constant") if node.op == "pad" else "constant"
        if mode != "constant" or all(size <= 0 for size in node.args[1]):
            return None
        return float(node.argument(3 if node.op == "pad" else 2, "value", 0.0) or 0.0)
    if node.op.startswith("avg_pool"):
        padding = node.argument(3, "padding", 0)
        padded = any(padding) if isinstance(padding, (list, tuple)) else bool(padding)
        sees = padded and node.argument(5, "count_include_pad", True)
        return 0.0 if sees or node.argument(6, "divisor_override") is not None else None
    if node.op.startswith("grid_sampler"):
        return 0.0 if node.argument(3, "padding_mode", 0) == 0 else None
    return 0.0 if node.op.startswith("max_unpool") else None


def reduction(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    """Of what is the same all along; what the number of elements decides is known for zeros alone."""
    x = values[node.args[0]]
    axes, keep = reduced_axes(node, x.dim())
    known = ~x.isnan()
    if not bool(known.any()):
        return unknown(node)
    flat = [axis for axis in axes if x.shape[axis] > 1 and not varies(x, axis)]
    first = x
    for axis in axes:
        first = first.narrow(axis, 0, 1)
    same = len(flat) == sum(x.shape[axis] > 1 for axis in axes)
    if node.op in ("mean", "amax", "amin") and not same:
        out = node.run(values.__getitem__, wide=True).double()
        return compress(out)
    zero = (x == 0).all(axes, keepdim=True) if axes else x == 0
    out = torch.where(zero, 0.0, torch.nan).double()
    if node.op in _PASSES:
        out = first
    elif node.op in _LOGICAL:
        found = torch.where(first.isnan(), torch.nan, (first != 0).double())
        out = found if same else out.fill_(torch.nan)
    elif node.op == "prod":
        out = torch.where((x == 1).all(axes, keepdim=True), 1.0, out)
    elif node.op in ("var", "std"):
        values.soft.add(node)
        out = torch.where(first.isnan(), torch.nan, 0.0) if same and len(flat) else out.fill_(torch.nan)
    elif node.op == "sum" and not flat and not same:
        out = x.sum(axes, keepdim=True)
    elif not adds_up(node):
        out = out.fill_(torch.nan)
    if not keep:
        out = out.squeeze(axes)
    return compress(out.expand(node.shape)) if node.dtype is not None else unknown(node)


def mixing(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Tensor:
    """Of running sums and products, where nothing but zeros, or ones, goes in."""
    x, axis = values[node.args[0]], node.argument(1, "dim", -1)
    passing = {"cumsum": (0.0,), "cumprod": (0.0, 1.0)}.get(node.op, ())
    out = torch.full_like(x, torch.nan)
    for value in passing:
        out = torch.where((x == value).all(axis, keepdim=True), value, out)
    return compress(out)


def ranking(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    """Of what is the same all along, whatever is picked out; where it was is not known."""
    x, axes = values[node.args[0]], ranked_axes(node)
    found = unknown(node)
    if node.op in _WHERE or any(varies(x, axis) for axis in axes):
        return found
    several = isinstance(found, list)
    shape = node.shape[0] if several else node.shape
    for axis in axes:
        x = x.narrow(axis, 0, 1)
    out = compress((x if len(shape) == x.dim() else x.squeeze(axes)).expand(shape))
    return [out, *found[1:]] if several else out
