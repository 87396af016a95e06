"""Disjoint sets of labels, over whole tensors of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from secateur.shrinking.channels.compressed import compress, jointly, shrunk


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
