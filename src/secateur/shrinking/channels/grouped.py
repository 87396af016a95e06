"""Convolutions in groups: whether whole groups go, or the same channels of every group."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from secateur.shrinking.channels.compressed import rows
from secateur.shrinking.channels.layers import layers
from secateur.shrinking.channels.needs import Needs
from secateur.shrinking.channels.node import Node


def in_groups(nodes: Sequence[Node]) -> dict[str, tuple[int, int, int, int]]:
    """Weight of each convolution whose groups have several channels -> its groups, input and output channels, and places of the kernel."""
    found: dict[str, tuple[int, int, int, int]] = {}
    for node, layer in layers(nodes):
        inside, outside = layer.x.shape[layer.channel], node.shape[layer.channel]
        if layer.groups > 1 and not inside == outside == layer.groups:
            places = math.prod(layer.weight.shape[2:])
            found[layer.weight.target] = layer.groups, inside, outside, places
    return found


def thinned(nodes: Sequence[Node], needs: Needs) -> frozenset[str]:
    """Weights of the convolutions that are left smaller when every group loses the same channels than when whole groups go.

    Channels that are needed may lie so in either way; torch wants groups of one size, so it is one or the other.
    """
    found: dict[str, bool] = {}
    several = in_groups(nodes)
    for node, layer in layers(nodes):
        if layer.weight.target not in several:
            continue
        ends = [_needed(end, layer.channel, needs).view(layer.groups, -1) for end in (layer.x, node)]
        whole = torch.cat(ends, 1).any(1).double().mean()
        same = ends[0].any(0).double().mean() * ends[1].any(0).double().mean()
        name = layer.weight.target
        found[name] = bool(same < whole) and found.get(name, True)
    return frozenset(name for name, good in found.items() if good)


def _needed(node: Node, axis: int, needs: Needs) -> Tensor:
    """Of each channel, whether anything depends on it."""
    need = needs.of.get(node)
    if need is None:
        return torch.zeros(node.shape[axis], dtype=torch.bool)
    return rows(need, axis).any(1)
