"""Channels that are constant but for one map that all of them have, such as the border that padding makes."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.shrinking.channels.compressed import rows
from secateur.shrinking.channels.layers import reduced_axes
from secateur.shrinking.channels.node import Node
from secateur.shrinking.channels.values.pointwise import Values
from secateur.shrinking.channels.values.spatial import beyond


def shared_map(node: Node, channel: int, values: Values) -> tuple[Tensor, float]:
    """Value c of each channel and v, so that each is v + (c - v) times a map, the same for all, of whatever size.

    Args:
        node: An operation that does to every channel the same.
        channel: The axis of its channels.
        values: The constants.

    Returns:
        (channels,), NaN where it is not so, and v.
    """
    none = torch.full((node.shape[channel],), torch.nan, dtype=torch.float64)
    if node.call is None or not node.args or not isinstance(node.args[0], Node):
        return none, 0.0
    x = node.args[0]
    if node.dtype is None or _works_along(node, channel) or x.shape[channel] != node.shape[channel]:
        return none, 0.0
    flat = rows(values[x], channel)
    same = (flat == flat[:, :1]).all(1)
    return torch.where(same, flat[:, 0], torch.nan), beyond(node) or 0.0


def _works_along(node: Node, channel: int) -> bool:
    """Whether it is none of the operations that do the same to all channels."""
    dims = len(node.args[0].shape)
    if node.op in ("pad", "constant_pad_nd"):
        padded = [dims - 1 - place // 2 for place, size in enumerate(node.args[1]) if size]
        return beyond(node) is None or channel in padded
    if node.op.startswith(("avg_pool", "grid_sampler")):
        return channel >= dims - (int(node.op[-2]) if node.op.startswith("avg_pool") else dims - 2)
    if node.op == "sum":
        return any(axis <= channel for axis in reduced_axes(node, dims)[0])
    if node.op == "cumsum":
        return node.argument(1, "dim") % dims == channel
    return True
