"""Weights as gaps and values: where each nonzero lies after the one before it, in a byte, and what it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FARTHEST = 255  # elements that a gap can bridge; a longer one is cut by a stored zero


def encode(weight: Array) -> tuple[NDArray[np.uint8], Array]:
    """``weight`` as gaps and values, both (k,): element ``cumsum(gaps)[i]`` of the flattened weight is ``values[i]``.

    What is not a number is a value like others; a negative zero, which masks leave behind, is a zero. The first gap counts
    from element 0. Where two nonzeros lie more than 255 elements apart, zeros between them are stored; and one where there is
    nothing else, for engines refuse an empty list.

    Args:
        weight: Of any shape.
    """
    flat = np.ascontiguousarray(weight).reshape(-1)
    positions = np.flatnonzero(flat)
    if not len(positions):
        return np.zeros(min(1, flat.size), np.uint8), np.zeros(min(1, flat.size), flat.dtype)
    steps = np.diff(positions, prepend=0)
    between = np.maximum(steps - 1, 0) // FARTHEST  # zeros to store before each nonzero
    count = len(positions) + int(between.sum())
    last = np.cumsum(between + 1) - 1  # where each nonzero stands among all that is stored
    gaps = np.full(count, FARTHEST, np.int64)
    gaps[last] = steps - FARTHEST * between
    values = np.zeros(count, flat.dtype)
    values[last] = flat[positions]
    return gaps.astype(np.uint8), values


def decode(gaps: NDArray[np.uint8], values: Array, shape: tuple[int, ...]) -> Array:
    """The weight of ``shape`` that :func:`encode` took apart."""
    flat = np.zeros(int(np.prod(shape)), values.dtype)
    flat[np.cumsum(gaps, dtype=np.int64)] = values
    return flat.reshape(shape)


def room(weight: Array, bytes_per_value: int | None = None) -> int:
    """Bytes that ``weight`` takes as gaps and values, counted without encoding it; a little more where gaps are long."""
    nonzeros = int(np.count_nonzero(weight))
    return nonzeros * (1 + (bytes_per_value or weight.dtype.itemsize)) + weight.size // FARTHEST
