"""Inputs of other sizes than the example's, to see whether what was found at one size holds at another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from secateur.problem import Input


def resized(example: Input, *, larger: bool) -> Iterator[Input]:
    """The example with another number of samples, of other sizes; what tells most comes first.

    A network need not take any of them: sizes may be fixed, or the second axis of (N, L, D) may be channels.

    Args:
        example: Tensors, or anything that holds them.
        larger: Whether sizes may grow too.
    """
    first = next(iter(pytree.tree_leaves(example)), None)
    count = len(first) if isinstance(first, Tensor) and first.dim() else 0
    ways = [
        (True, _image, _half),
        (True, _image, _twice),
        (True, _sequence, _half),
        (True, _sequence, _longer),
    ]
    ways += [(True, _none, _half), (False, _image, _half)]
    for batch, axes, sized in ways:
        if larger or sized is _half:
            change = partial(_changed, count=count if batch else 0, axes=axes, sized=sized)
            made: Any = pytree.tree_map_only(Tensor, change, example)
            yield made


def _image(x: Tensor) -> range:
    return range(2, x.dim())


def _sequence(x: Tensor) -> range:
    return range(1, 2) if x.dim() == 3 or (x.dim() == 2 and not x.is_floating_point()) else range(0)


def _none(x: Tensor) -> range:
    return range(0)


def _half(x: Tensor, axis: int) -> Tensor:
    return x.narrow(axis, 0, -(-x.shape[axis] // 2))


def _twice(x: Tensor, axis: int) -> Tensor:
    return torch.cat([x, x], axis)


def _longer(x: Tensor, axis: int) -> Tensor:
    return torch.cat([x, x.narrow(axis, 0, 1)], axis)


def _changed(
    x: Tensor, *, count: int, axes: Callable[[Tensor], range], sized: Callable[[Tensor, int], Tensor]
) -> Tensor:
    if x.dim() and len(x) == count:
        x = x[:1] if count > 1 else torch.cat([x, x])
    for axis in axes(x):
        x = sized(x, axis)
    return x
