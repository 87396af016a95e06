"""Which elements of a trace the outputs depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels.compressed import compress, full, jointly, rows, shrunk
from secateur.shrinking.channels.node import Node
from secateur.shrinking.channels.values import Values


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
        self.readers: dict[Node, list[tuple[Node, Tensor]]] = {}  # what needs elements of a node, and which
        self.reader: Node | None = None

    def add(self, node: Node, need: Tensor, part: int | None = None) -> None:
        """Some more elements of ``node`` are needed; ``need`` is broadcast to its shape or summed up to it."""
        shape = node.shape if part is None else node.shape[part]
        need = _gathered(need, shape)
        if self.reader is not None and part is None:
            self.readers.setdefault(node, []).append((self.reader, need))
        if part is not None:
            slots = self.of.setdefault(node, [None] * len(node.shape))
            slots[part] = need if slots[part] is None else either(slots[part], need)
        else:
            self.of[node] = either(self.of[node], need) if node in self.of else need

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


def any_along(x: Tensor, axis: int) -> Tensor:
    """Whether anything along ``axis`` is True; the axis stays, with size 1."""
    shape = list(x.shape)
    shape[axis] = 1
    return shrunk(x).any(axis, keepdim=True).expand(shape)


def any_but(x: Tensor, axis: int) -> Tensor:
    """Per index along ``axis``, whether anything is True."""
    return rows(x, axis).any(1)


def _gathered(need: Tensor, shape: Sequence[int]) -> Tensor:
    """``need``, broadcast, back at ``shape``: True where any of the copies is."""
    while need.dim() > len(shape):
        need = any_along(need, 0)[0]
    for axis, size in enumerate(shape):
        if need.shape[axis] != size and size == 1:
            need = any_along(need, axis)
    return compress(need.expand(tuple(shape)))


def either(a: Tensor, b: Tensor) -> Tensor:
    """Where one or the other is True."""
    x, y = jointly([a, b], a.shape)
    return compress((x | y).expand(a.shape))
