"""Labels: every element of every tensor in a trace bears the label of the channel it belongs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secateur.shrinking.channels.compressed import compress, full, jointly, shrunk, varies, varying
from secateur.shrinking.channels.node import Node

NEUTRAL = -1  # belongs to no channel: constants, scores between places
PINNED = 0  # never removed
_ATOMS = 1 << 21  # larger parameters used element by element are pinned, not followed


class Union:
    """Disjoint sets of the labels 0, 1, 2, ...; the smallest label stands for its set. Negative ones are no labels."""

    def __init__(self) -> None:
        self._parent = np.zeros(0, dtype=np.int64)

    def fresh(self, count: int) -> Tensor:
        """``count`` new labels, each a set of its own."""
        start = self._parent.size
        self._parent = np.concatenate([self._parent, np.arange(start, start + count)])
        return torch.arange(start, start + count)

    def find(self, labels: Tensor) -> Tensor:
        """The labels that stand for the sets, compressed."""
        small = shrunk(labels).numpy()
        inside = np.maximum(small, 0)
        while True:
            above = self._parent[inside]
            if (above == inside).all():
                break
            self._parent[inside] = self._parent[above]
            inside = self._parent[inside]
        return compress(torch.from_numpy(np.where(small < 0, small, inside)).expand(labels.shape))

    def join(self, a: Tensor, b: Tensor) -> None:
        """Makes one set of the sets of ``a[i]`` and ``b[i]``, broadcast, for all i where both are labels."""
        x, y = jointly([a, b], torch.broadcast_shapes(a.shape, b.shape))
        pairs = np.stack([self.find(x).flatten().numpy(), self.find(y).flatten().numpy()])
        pairs = np.unique(pairs[:, (pairs >= 0).all(0) & (pairs[0] != pairs[1])], axis=1)
        for first, second in pairs.T.tolist():
            low, high = sorted((self._root(first), self._root(second)))
            self._parent[high] = low

    def join_all(self, labels: Tensor) -> None:
        """Makes one set of all."""
        flat = shrunk(labels).flatten()
        flat = flat[flat >= 0]
        if flat.numel() > 1:
            self.join(flat, flat[:1])

    def _root(self, label: int) -> int:
        parent = self._parent
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = int(parent[label])
        return label


class Labelling:
    """The labels of a trace in the making; elements with the same label must go together.

    Args:
        fixed: Nodes whose value depends on no input and no parameter, and that value.
        free: Those of them that do not depend on a buffer either.
    """

    def __init__(self, fixed: Mapping[Node, Tensor], free: Collection[Node]) -> None:
        self.fixed, self.free = fixed, free
        self.stacks: Mapping[Node, Any] = {}  # products with parameters that were moved
        self.weights: set[Node] = set()  # what is made of parameters alone
        self.training = False  # whether what is followed is what training alone does
        self.lost: set[Node] = set()  # what of that cannot be followed
        self.late: set[str] = set()  # parameters and buffers that it alone uses element by element
        self.thinned: Collection[str] = ()  # weights of convolutions whose groups all lose the same channels
        self.union = Union()
        self.union.fresh(1)  # PINNED
        self.of: dict[Node, Any] = {}
        self.axes: dict[tuple[str, int], Tensor] = {}  # of weights: (parameter, axis) -> label of each index
        self.elements: dict[str, Tensor] = {}  # of parameters and buffers used element by element
        self.pins: list[tuple[int, str]] = []
        self.rectangles: list[Tensor] = []
        self.wholes: list[tuple[Tensor, int, str]] = []

    def read(self, node: Node) -> Tensor:
        """The labels of a node's elements, as far as known, compressed."""
        if node.target and node not in self.of:
            count = 1
            for size in node.shape:
                count *= size
            if node in self.fixed and self.fixed[node].dtype in (torch.int32, torch.int64):
                return full(NEUTRAL, node.shape, torch.int64)  # a table of places, such as position_ids
            layer = node.target in {name for name, _ in self.axes}
            if self.training and layer:  # such as a sum of squares of all weights
                return full(NEUTRAL, node.shape, torch.int64)
            if count > _ATOMS or layer:
                self.of[node] = full(PINNED, node.shape, torch.int64)
                self.pin_weight(node, "is used in several ways")
            else:
                self.of[node] = self.union.fresh(count).view(node.shape)
            self.elements[node.target] = self.of[node]
            self.late.update([node.target] if self.training else [])
        return self.union.find(self.of[node])

    def axis(self, weight: Node, axis: int) -> Tensor:
        """The labels of a weight's indices along ``axis``, (size,)."""
        key = (weight.target, axis)
        if key not in self.axes:
            self.axes[key] = self.union.fresh(weight.shape[axis])
            if weight.target in self.elements:
                self.pin(self.axes[key], f"parameter {weight.target!r} is used in several ways")
                self.pin(self.elements[weight.target], f"parameter {weight.target!r} is used in several ways")
        return self.axes[key]

    def alone(self, labels: Tensor) -> bool:
        """Whether one of these is the only channel of its layer, which stays: not channels lie here, but branches."""
        single = [self.union.find(ids) for ids in self.axes.values() if ids.numel() == 1]
        return bool(single) and bool(torch.isin(self.union.find(labels), torch.cat(single)).any())

    def pin(self, labels: Tensor, reason: str) -> None:
        """Says that these channels stay, and why."""
        free = torch.unique(shrunk(self.union.find(labels)))
        free = free[free > PINNED]
        if free.numel():
            layers = [torch.unique(self.union.find(ids)) for ids in self.axes.values()]
            count = int(torch.isin(free, torch.cat([free[:0], *layers])).sum())  # not single elements
            self.pins.append((count, reason))
            self.union.join(free, torch.tensor([PINNED]))

    def tied(self, node: Node, axis: int) -> Tensor:
        """The labels of ``node``, once what lies at different places of one channel goes together."""
        labels = self.read(node)
        for other in varying(labels):
            if other != axis:
                self.union.join(labels, labels.narrow(other, 0, 1))
                labels = self.read(node)
        return labels

    def pin_weight(self, node: Node, reason: str) -> None:
        """Pins all axes of a weight."""
        for (name, _), labels in self.axes.items():
            if name == node.target:
                self.pin(labels, f"parameter {name!r} {reason}")

    def unknown(self, node: Node, reason: str) -> Any:
        """Pins what goes into ``node`` and what comes out; in training nothing, as that is looked at where it runs."""
        if self.training:
            self.lost.add(node)
            return shaped(NEUTRAL, node.shape)
        anything = False
        for read in node.inputs:
            for labels in _tensors(self.read_all(read)):
                anything |= bool((labels != NEUTRAL).any())
                self.pin(labels, f"{node.place}: {reason}")
        return shaped(PINNED if anything else NEUTRAL, node.shape)

    def read_all(self, node: Node) -> Any:
        """As :meth:`read`, also for nodes with several results."""
        if isinstance(self.of.get(node), list):
            return [self.union.find(labels) for labels in self.of[node]]
        return self.read(node)

    def settle(self) -> None:
        """Ties what reshapes and slices need tied, until nothing changes."""
        while True:
            changed = False
            for labels in self.rectangles:
                found = self.union.find(labels)
                if len(axes := varying(found)) > 1:
                    # a channel axis split in two: what is left must be a rectangle, so columns go as wholes
                    self.union.join(found, found.narrow(axes[0], 0, 1))
                    changed = True
            for labels, axis, place in self.wholes:
                found = self.union.find(labels)
                if varies(found, axis):
                    self.pin(found, f"{place}: picks out channels by their number")
                    changed = True
            if not changed:
                return


def shaped(label: int, shape: Any) -> Any:
    """One label for a whole result, or for each of several."""
    if shape and isinstance(shape[0], tuple):
        return [full(label, one, torch.int64) for one in shape]
    return full(label, shape, torch.int64)


def _tensors(value: Any) -> list[Tensor]:
    return value if isinstance(value, list) else [value]
