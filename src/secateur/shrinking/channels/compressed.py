"""Tensors that repeat along most axes, kept small: a repeated axis has stride 0."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def compress(x: Tensor) -> Tensor:
    """``x`` with every axis along which it does not change stored once; NaN equals NaN."""
    small = shrunk(x)
    for axis, size in enumerate(small.shape):
        if size > 1:
            first = small.narrow(axis, 0, 1)
            same = small == first
            if small.is_floating_point():
                same |= small.isnan() & first.isnan()
            if bool(same.all()):
                small = first
    return small.clone().expand(x.shape)


def shrunk(x: Tensor) -> Tensor:
    """``x`` with its repeated axes cut to size 1."""
    for axis, (size, stride) in enumerate(zip(x.shape, x.stride(), strict=True)):
        if size > 1 and stride == 0:
            x = x.narrow(axis, 0, 1)
    return x


def varies(x: Tensor, axis: int) -> bool:
    """Whether ``x``, compressed, changes along ``axis``."""
    return x.shape[axis] > 1 and x.stride(axis) != 0


def varying(x: Tensor) -> list[int]:
    """The axes along which ``x``, compressed, changes."""
    return [axis for axis in range(x.dim()) if varies(x, axis)]


def jointly(tensors: Sequence[Tensor], shape: Sequence[int]) -> list[Tensor]:
    """``tensors`` broadcast to ``shape``, cut to size 1 along the axes where none of them changes."""
    wide = [x.expand(tuple(shape)) for x in tensors]
    for axis, size in enumerate(shape):
        if size > 1 and all(x.stride(axis) == 0 for x in wide):
            wide = [x.narrow(axis, 0, 1) for x in wide]
    return wide


def along(x: Tensor, axis: int) -> Tensor | None:
    """The values of ``x``, compressed, along ``axis``, (size,), if it changes along no other; else None."""
    if any(other != axis % x.dim() for other in varying(x)):
        return None
    index = [0] * x.dim()
    return x.movedim(axis, 0)[(slice(None), *index[1:])]


def rows(x: Tensor, axis: int) -> Tensor:
    """All values at each index along ``axis``, (size, anything); repeated ones once."""
    small = shrunk(x.movedim(axis, 0))
    return small.reshape(small.shape[0], -1).expand(x.shape[axis], -1)


def spread(vector: Tensor, axis: int, shape: Sequence[int]) -> Tensor:
    """A tensor of ``shape`` that is ``vector`` along ``axis`` and does not change along the others."""
    view = [1] * len(shape)
    view[axis] = vector.numel()
    return vector.reshape(view).expand(tuple(shape))


def full(value: float, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A constant tensor, stored once."""
    return torch.full((), value, dtype=dtype).expand(tuple(shape))
