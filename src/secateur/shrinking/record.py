"""What a record of a smaller network may say, checked before a network is cut by one that was read from a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, cast

from torch import nn


def check_record(kept: Mapping[Any, Any], constants: Mapping[Any, Any], biases: Iterable[Any]) -> None:
    """Raises ValueError naming what no compaction writes: none, negative or repeated indices, sizes that are no sizes."""
    for name, axes in kept.items():
        for axis, indices in axes.items():
            rising = all(map(_whole, indices)) and all(a < b for a, b in pairwise(indices))
            if not isinstance(name, str) or axis < 0 or not indices or not rising:
                raise ValueError(
                    f"its record keeps indices of {name!r}, axis {axis}, that are none or not in order"
                )
    for path, settings in constants.items():
        if not isinstance(path, str) or not isinstance(settings, dict):
            raise ValueError(f"its record replaces {path!r} by nothing known")
        found = cast(dict[str, Any], settings)
        if found and (
            found.keys() != {"channels", "kernel"}
            or not _whole(found["channels"], 1)
            or not _kernel(found["kernel"])
        ):
            raise ValueError(f"its record replaces {path!r} by a constant of unknown size")
    if not all(isinstance(path, str) for path in biases):
        raise ValueError("its record names layers by what are no names")


def check_sizes(shapes: Mapping[Any, Any], told: Mapping[Any, Any]) -> None:
    """Raises ValueError where the record has sizes that are none."""
    for name, shape in shapes.items():
        if not isinstance(name, str) or not all(map(_whole, shape)):
            raise ValueError(f"its record says of {name!r} a shape that is none")
    for path, numbers in told.items():
        if not isinstance(path, str) or not all(type(number) is int for number in numbers.values()):
            raise ValueError(f"its record says of {path!r} numbers that are none")


def told(before: nn.Module, after: nn.Module) -> dict[str, dict[str, int]]:
    """Path of each module to those of its whole numbers that ``after`` has others of than ``before``, as they are there."""
    modules = {path: vars(module) for path, module in before.named_modules()}
    found = {
        path: {
            name: value
            for name, value in vars(module).items()
            if type(value) is int and modules[path].get(name) not in (None, value)
        }
        for path, module in after.named_modules()
        if path in modules
    }
    return {path: numbers for path, numbers in found.items() if numbers}


def _kernel(value: Any) -> bool:
    """(size, stride, padding, dilation) for each axis."""
    least = (1, 1, 0, 1)
    return isinstance(value, (list, tuple)) and all(
        isinstance(axis, (list, tuple))
        and len(cast(list[Any], axis)) == len(least)
        and all(_whole(n, low) for n, low in zip(cast(list[Any], axis), least, strict=True))
        for axis in cast(list[Any], value)
    )


def _whole(value: Any, least: int = 0) -> bool:
    return type(value) is int and value >= least
