"""Which line keeps channels that give nothing but a constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels.channels import Channels
from secateur.shrinking.channels.compressed import compress, jointly, varying
from secateur.shrinking.channels.needs import Needs
from secateur.shrinking.channels.node import Node

_ENDS = ("buffer", "constant", "parameter")


def staying(channels: Channels, keep: Tensor, needs: Needs) -> dict[str, int]:
    """The operations that need a constant as a channel, or make more of it than a constant, to how many such channels.

    Args:
        channels: The labels.
        keep: Which of them are left, (labels,).
        needs: What the outputs depend on, and what reads it.
    """
    known, unknown = _labels(channels, needs, constant=True), _labels(channels, needs, constant=False)
    none = torch.zeros(max(1, channels.count), dtype=torch.bool)
    candidates = torch.stack([none, *known.values()]).any(0) & keep
    if not bool(candidates.any()):
        return {}
    lost: list[tuple[Node, Tensor]] = []
    for node in channels.nodes:
        varies = unknown.get(node, none) & candidates
        if not bool(varies.any()):
            continue
        inputs = [read for read in node.inputs if read.op not in _ENDS]
        before = torch.stack([none, *(unknown[read] for read in inputs if read in unknown)]).any(0)
        constant = torch.stack([none, *(known[read] for read in inputs if read in known)]).any(0)
        candidates &= ~(varies & ~before & ~constant)  # what makes something of the input
        lost.append((node, varies & ~before & constant))
    for node, readers in needs.readers.items():
        if node in known:
            source = _uneven(channels, needs, node)
            lost += [(source or reader, _marked(channels, needs, node, need)) for reader, need in readers]
    return _counted(lost, candidates)


def _uneven(channels: Channels, needs: Needs, node: Node) -> Node | None:
    """What made a constant differ from place to place, if it does in what ``node`` gives."""
    value, labels = needs.values[node], channels.labels.get(node.name, [])
    if not isinstance(value, Tensor) or not labels or not bool((labels[0] >= 0).any()):
        return None
    if not set(varying(value)) - set(varying(compress(labels[0]))):
        return None
    above = (_uneven(channels, needs, read) for read in node.inputs)
    return next((found for found in above if found is not None), node)


def _counted(lost: list[tuple[Node, Tensor]], candidates: Tensor) -> dict[str, int]:
    """Each channel once, with the first operation that keeps it."""
    found: dict[str, int] = {}
    for node, labels in lost:
        count = int((labels & candidates).sum())
        candidates = candidates & ~labels
        if count:
            found[node.place] = found.get(node.place, 0) + count
    return found


def _labels(channels: Channels, needs: Needs, *, constant: bool) -> Mapping[Node, Tensor]:
    """For every node which labels have elements that are needed and constant, or needed and not, (labels,)."""
    found: dict[Node, Tensor] = {}
    for node in channels.nodes:
        need = needs.of.get(node)
        if need is None or node.op in _ENDS or node.name not in channels.labels:
            continue
        mask = _marked(channels, needs, node, need, constant=constant)
        if bool(mask.any()):
            found[node] = mask
    return found


def _marked(channels: Channels, needs: Needs, node: Node, need: Any, *, constant: bool = True) -> Tensor:
    mask = torch.zeros(max(1, channels.count), dtype=torch.bool)
    values = needs.values[node]
    parts = need if isinstance(need, list) else [need]
    values = values if isinstance(values, list) else [values]
    for labels, part, value in zip(channels.labels[node.name], parts, values, strict=True):
        if part is not None:
            a, b, c = jointly([labels, part, value], labels.shape)
            mask[a[b & (a >= 0) & (c.isnan() ^ constant)]] = True
    return mask
