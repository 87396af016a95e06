"""Arrays as they lie on disk to the fields of a sample; every error names the place the array came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
Decode = Callable[[Array, str], Tensor]
"""``(array, place) -> field``; raises ValueError, beginning with ``place``, for an array that it cannot be."""

IGNORE = 255
"""The label that no loss and no metric counts."""

_UNKNOWN = -1


def image_field(array: Array, place: str) -> Tensor:
    """(H, W, 3) RGB, bytes or floats in [0, 1], to float (3, H, W) in [0, 1]."""
    x = _channels_first(array, "image", place)
    if x.dtype == torch.uint8:
        return x.float().div_(255.0)
    if not x.is_floating_point() or not bool((x >= -1e-3).all() and (x <= 1.0 + 1e-3).all()):
        raise ValueError(
            f"{place}: {array.dtype}, {array.min()} to {array.max()}; image must be 8-bit RGB, or floats in [0, 1]."
        )
    return x.float().clamp_(0.0, 1.0)


def label_table(classes: Mapping[int, int], ignored: tuple[int, ...] = (IGNORE,)) -> Array:
    """What each stored label, 0 to 255, stands for: a class, :data:`IGNORE`, or -1 for what must not occur; int64 (256,)."""
    table = np.full(256, _UNKNOWN, np.int64)
    table[list(ignored)] = IGNORE
    table[list(classes)] = list(classes.values())
    return table


def plain_labels(classes: int, first: int = 0, ignored: tuple[int, ...] = (IGNORE,)) -> Array:
    """The table of labels that count up from ``first``."""
    return label_table({first + k: k for k in range(classes)}, ignored)


def label_field(array: Array, place: str, table: Array) -> Tensor:
    """(H, W) or (H, W, 1) labels, whole numbers of any dtype, to int64 (H, W); a stored -1 is read as 255."""
    labels = _labels(_one_channel(array, "seg", place), place, table)
    found = table[labels]
    unknown = labels[found == _UNKNOWN]
    if unknown.size:
        raise ValueError(f"{place}: label {unknown.max()}; {_known(table)}.")
    return torch.as_tensor(found)


def normal_field(array: Array, place: str) -> Tensor:
    """(H, W, 3) bytes (v / 127.5 - 1), signed bytes (v / 127) or floats, to float (3, H, W) unit vectors.

    What is far from unit length (black, white, zeros: no normal) becomes the zero vector.
    """
    x = _channels_first(array, "normal", place)
    if x.dtype == torch.uint8:
        x = x.float().div_(127.5).sub_(1.0)
    elif x.dtype == torch.int8:
        x = x.float().div_(127.0)
    elif not x.is_floating_point():
        raise ValueError(f"{place}: {array.dtype}; normal must be 8-bit RGB, or floats.")
    x = torch.nan_to_num(x.float(), nan=0.0)
    length = x.square().sum(0).sqrt_()
    return x * torch.where((length > 0.5) & (length < 1.5), 1.0 / length.clamp(min=0.5), 0.0)


def depth_field(array: Array, place: str, unit: float, below: int = 65536) -> Tensor:
    """(H, W) whole numbers of at least 16 bits, ``unit`` of them a metre, to float (1, H, W) metres.

    Args:
        array: 0 is invalid.
        place: For errors.
        unit: Steps a metre.
        below: From this stored value on, depth is invalid.
    """
    stored = _one_channel(array, "depth", place)
    if stored.dtype.itemsize < 2 or stored.dtype.kind not in "ui":
        raise ValueError(f"{place}: {stored.dtype}; depth must be 16-bit{_MILLI if unit == 1000 else ''}.")
    depth = torch.as_tensor(stored.astype(np.float32))[None].div_(unit)
    return torch.where(torch.as_tensor(stored >= below)[None], 0.0, depth)


def metre_field(array: Array, place: str) -> Tensor:
    """(H, W) or (H, W, 1) floats, metres, 0 = invalid, to float (1, H, W)."""
    stored = _one_channel(array, "depth", place)
    if stored.dtype.kind != "f":
        raise ValueError(f"{place}: {stored.dtype}; depth must be floats, metres.")
    with np.errstate(over="ignore"):  # it is infinite then
        metres = stored.astype(np.float32)
    if not bool((metres >= 0).all() and np.isfinite(metres).all()):
        raise ValueError(
            f"{place}: depth is negative or not finite somewhere; it must be metres, 0 where unknown."
        )
    return torch.as_tensor(metres)[None]


def map_field(array: Array, place: str, top: float) -> Tensor:
    """(H, W) 16-bit strengths, 65536 being 1, clipped at ``top`` and divided by it: float (1, H, W) in [0, 1]."""
    stored = _one_channel(array, "the map", place)
    if stored.dtype.itemsize < 2 or stored.dtype.kind not in "ui":
        raise ValueError(f"{place}: {stored.dtype}; the map must be 16-bit.")
    return torch.as_tensor(stored.astype(np.float32))[None].div_(65536.0 * top).clamp_(0.0, 1.0)


def _labels(stored: Array, place: str, table: Array) -> Array:
    """As bytes, which most files hold and which need no conversion: the dearest part of reading large frames."""
    if stored.dtype == np.uint8:
        return stored
    if stored.dtype.kind not in "buif":
        raise ValueError(f"{place}: {stored.dtype}; seg must hold labels, whole numbers.")
    with np.errstate(invalid="ignore"):  # NaN is found below
        labels = stored.astype(np.int64)
    if not np.array_equal(labels, stored):
        raise ValueError(f"{place}: {stored.dtype} that is not whole; seg must hold labels.")
    labels = np.where(labels == -1, IGNORE, labels)
    outside = labels[(labels < 0) | (labels > 255)]
    if outside.size:
        raise ValueError(f"{place}: label {outside.max()}; {_known(table)}.")
    return labels.astype(np.uint8)


_MILLI = " millimetres"


def _one_channel(array: Array, field: str, place: str) -> Array:
    flat = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if flat.ndim != 2 or not flat.size:
        raise ValueError(f"{place}: shape {array.shape}; {field} must be one channel.")
    return flat


def _channels_first(array: Array, field: str, place: str) -> Tensor:
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ValueError(f"{place}: shape {array.shape}; {field} must be 8-bit RGB, or (height, width, 3).")
    if array.dtype.kind not in "uif":
        raise ValueError(f"{place}: {array.dtype}; {field} must hold numbers.")
    if array.dtype.itemsize > 1 and array.dtype.kind == "u":
        array = array.astype(np.int64)  # torch knows no unsigned words in arithmetic
    elif (
        array.dtype.itemsize > 8 or not array.dtype.isnative
    ):  # nor long doubles, nor the other order of bytes
        array = array.astype(np.float64 if array.dtype.itemsize > 8 else array.dtype.newbyteorder("="))
    # before the bytes become floats: faster
    return torch.as_tensor(
        np.array(array.transpose(2, 0, 1), order="C")
    )  # a copy: that of a picture is not to be written to


def _known(table: Array) -> str:
    """Which labels ``table`` knows, in words."""
    used, dropped = np.flatnonzero((table >= 0) & (table != IGNORE)), np.flatnonzero(table == IGNORE)
    classes = len(np.unique(table[used]))
    some = ", ".join(str(label) for label in dropped[:3]) + (", ..." if len(dropped) > 3 else "")
    return f"with {classes} classes labels are {used[0]} to {used[-1]}, or {some} to ignore"
