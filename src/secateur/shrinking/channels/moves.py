"""How labels pass through operations that move elements."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels.compressed import compress, varies, varying
from secateur.shrinking.channels.labelling import Labelling
from secateur.shrinking.channels.node import Node, moved_by

_SHUFFLES = ("channel_shuffle", "native_channel_shuffle", "pixel_shuffle")
_LOOKS_UP = ("index", "index_select")
# Runs of channels: whether the code reads their lengths off a tensor or has them written out is not in the trace.
_PIECES = ("split", "chunk", "split_with_sizes", "slice", "narrow")


def move_rule(flow: Labelling, node: Node) -> Any:
    """Runs the operation on the labels themselves."""
    several = isinstance(node.args[0], (list, tuple))
    moved = node.inputs if several else node.inputs[:1]
    if node.op in _LOOKS_UP and moved[0].op == "parameter":
        _tie_rows(flow, node)
    if any(read not in moved and read not in flow.fixed for read in node.inputs):
        return _looked_up(flow, node)
    before = {read: flow.read(read) for read in moved}
    if node.op in _SHUFFLES:  # what comes from one place of each block goes together
        x, factor = before[moved[0]], node.args[1]
        axis = -3 if node.op == "pixel_shuffle" else 1
        blocks = x.unflatten(axis, (-1, factor**2) if axis == -3 else (factor, -1))
        flow.union.join(blocks, blocks.narrow(axis, 0, 1))
        before[moved[0]] = flow.read(moved[0])
    after = moved_by(node, lambda read: before.get(read, flow.fixed.get(read)))
    results = [compress(part) for part in after] if isinstance(after, (tuple, list)) else [compress(after)]
    axes = picked(node, len(moved[0].shape))
    if node.op in _PIECES and len({part.shape for part in results}) == 1:
        for part in results[1:]:  # halves stay halves
            if varies(before[moved[0]], axes[0]):
                flow.union.join(results[0], part)
    elif moved[0].shape != node.shape and node.op not in _PIECES:
        flow.wholes += [(before[moved[0]], axis, node.place) for axis in axes]
    flow.rectangles += [part for part in results if len(varying(part)) > 1]
    return results if isinstance(after, (tuple, list)) else results[0]


def anywhere(node: Node, value: Tensor) -> Tensor | None:
    """What a look-up at computed places gives of ``value``, compressed, that is the same at all of them; None if it is not."""
    x = node.args[0]
    if node.op not in _LOOKS_UP or node.reads.count(x) > 1:
        return None
    if any(varies(value, axis) for axis in picked(node, len(x.shape))):
        return None
    first = moved_by(node, lambda read: value if read is x else torch.zeros(read.shape, dtype=torch.int64))
    return compress(first) if tuple(first.shape) == tuple(node.shape) else None  # a mask gives another


def _tie_rows(flow: Labelling, node: Node) -> None:
    """Of a table that is a parameter the rows that are looked up are no channels; what lies along its other axes is."""
    x = node.args[0]
    rows = [axis for axis in picked(node, len(x.shape)) if varies(flow.read(x), axis)]
    for axis in rows if len(varying(flow.read(x))) > len(rows) else ():
        flow.union.join(flow.read(x), flow.read(x).narrow(axis, 0, 1))


def _looked_up(flow: Labelling, node: Node) -> Any:
    """Of a table, or of places, channels stay where they are; which places is said by numbers that stay."""
    x = node.args[0]
    found = anywhere(node, flow.read(x)) if isinstance(x, Node) else None
    if found is None:
        return flow.unknown(node, "moves channels to computed places")
    for read in node.inputs[1:]:
        flow.pin(flow.read(read), f"{node.place}: says where to look")
    return found


def picked(node: Node, dims: int) -> list[int]:
    """The axes along which a move picks out elements by their number."""
    if node.op in (
        *_PIECES,
        "select",
        "index_select",
        "unbind",
    ):
        place = 2 if node.op in ("split", "chunk", "split_with_sizes") else 1
        return [node.argument(place, "dim", 0) % dims]
    if node.op == "roll":
        return [axis % dims for axis in node.argument(2, "dims", [])] or list(range(dims))
    if node.op == "index":
        return [axis for axis, index in enumerate(node.args[1]) if index is not None]
    return []
