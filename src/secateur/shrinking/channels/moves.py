"""How labels pass through operations that move elements."""

from __future__ import annotations

from typing import Any

from secateur.shrinking.channels.compressed import compress, varies, varying
from secateur.shrinking.channels.labelling import Labelling
from secateur.shrinking.channels.trace import Node, moved_by

_SHUFFLES = ("channel_shuffle", "native_channel_shuffle", "pixel_shuffle")
# Runs of channels: whether the code reads their lengths off a tensor or has them written out is not in the trace.
_PIECES = ("split", "chunk", "split_with_sizes", "slice", "narrow")


def move_rule(flow: Labelling, node: Node) -> Any:
    """Runs the operation on the labels themselves."""
    several = isinstance(node.args[0], (list, tuple))
    moved = node.inputs if several else node.inputs[:1]
    if any(read not in moved and read not in flow.fixed for read in node.inputs):
        return flow.unknown(node, "moves channels to computed places")
    before = {read: flow.read(read) for read in moved}
    if node.op in _SHUFFLES:  # what comes from one place of each block goes together
        x, factor = before[moved[0]], node.args[1]
        axis = -3 if node.op == "pixel_shuffle" else 1
        blocks = x.unflatten(axis, (-1, factor**2) if axis == -3 else (factor, -1))
        flow.union.join(blocks, blocks.narrow(axis, 0, 1))
        before[moved[0]] = flow.read(moved[0])
    after = moved_by(node, lambda read: before.get(read, flow.fixed.get(read)))
    results = [compress(part) for part in after] if isinstance(after, (tuple, list)) else [compress(after)]
    axes = _picked(node, len(moved[0].shape))
    if node.op in _PIECES and len({part.shape for part in results}) == 1:
        for part in results[1:]:  # halves stay halves
            if varies(before[moved[0]], axes[0]):
                flow.union.join(results[0], part)
    elif moved[0].shape != node.shape and node.op not in _PIECES:
        flow.wholes += [(before[moved[0]], axis, node.place) for axis in axes]
    flow.rectangles += [part for part in results if len(varying(part)) > 1]
    return results if isinstance(after, (tuple, list)) else results[0]


def _picked(node: Node, dims: int) -> list[int]:
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
