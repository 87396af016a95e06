"""The level that blocks of an exact number of weights exceed by their root mean square."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from secateur.pruning.levels import bisected, starved
from secateur.pruning.pattern import Pattern, first_blocks


class BlockThreshold:
    """Finds the α that blocks of ``keep`` weights exceed by their root mean square, as :class:`ExactThreshold` does of weights.

    Args:
        pattern: What a block is.
    """

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._sizes: list[Tensor] = []
        self._last = 0.0

    @torch.no_grad()
    def levels(
        self, weights: Sequence[Tensor], scales: Sequence[Tensor | float], keep: int, at_least: int
    ) -> tuple[Tensor, list[Tensor]]:
        """α and the level of each tensor: α, or where the blocks above that hold fewer than ``at_least``, what just enough exceed.

        The blocks that exceed the levels hold ``keep`` weights, or less than one block fewer.

        Args:
            weights: Tensors of shapes (out, in, ...), the same at every call.
            scales: One positive factor per tensor.
            keep: Number of weights to keep, at most their count and at least what every tensor must have.
            at_least: Weights that each tensor keeps, or all where it has no more.
        """
        if not self._sizes:
            self._sizes = [self._pattern.sizes(w).flatten().to(torch.int32) for w in weights]
        parts = [
            self._pattern.magnitude(w.detach()).flatten() / s for w, s in zip(weights, scales, strict=True)
        ]
        if keep >= sum(w.numel() for w in weights):
            zero = parts[0].new_zeros(())
            return zero, [zero] * len(parts)
        if not at_least or parts[0].is_cpu:
            alpha = self._search(torch.cat(parts), keep)
            if not at_least or not starved(parts, alpha, at_least):  # a block is a weight at least
                return alpha, [alpha] * len(parts)
        first = [first_blocks(p, s, at_least) for p, s in zip(parts, self._sizes, strict=True)]
        own = [p.masked_fill(f, 0.0).max() for p, f in zip(parts, first, strict=True)]
        least = [p.masked_fill(~f, torch.inf).min() for p, f in zip(parts, first, strict=True)]
        forced = [p.masked_fill(f, torch.inf) for p, f in zip(parts, first, strict=True)]
        alpha = self._search(torch.cat(forced), keep)
        return alpha, [torch.where(w > alpha, alpha, o) for w, o in zip(least, own, strict=True)]

    def _search(self, flat: Tensor, keep: int) -> Tensor:
        """The largest value that blocks of more than ``keep`` weights reach."""
        size = torch.cat(self._sizes)
        if not flat.is_cpu:
            return bisected(flat, keep, size)
        values, sizes = flat.numpy(), size.numpy()
        for width in (1.01, 1.1, None):  # near the last answer, else anywhere
            low, high = (self._last / width, self._last * width) if width else (-np.inf, np.inf)
            held = int(sizes.sum(where=values > high))
            band = np.flatnonzero((values > low) & (values <= high))
            band = band[np.argsort(-values[band])]
            filled = held + sizes[band].cumsum()
            if held <= keep < (filled[-1] if filled.size else 0):
                self._last = float(values[band[np.searchsorted(filled, keep, side="right")]])
                break
        return flat.new_tensor(self._last)
