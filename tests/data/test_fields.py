"""Arrays of every dtype that NumPy has: read as what they hold, or refused with their place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from secateur.data.fields import (
    Array,
    depth_field,
    image_field,
    label_field,
    map_field,
    metre_field,
    normal_field,
    plain_labels,
)
from secateur.data.photos import find_photos

FIELDS: dict[str, tuple[Callable[[Array, str], Tensor], tuple[int, ...], str]] = {
    "image": (image_field, (4, 5, 3), "u1 f2 f4 f8 g"),
    "label": (partial(label_field, table=plain_labels(3)), (4, 5), "? u1 u2 u4 u8 i1 i2 i4 i8 f2 f4 f8 g"),
    "normal": (normal_field, (4, 5, 3), "u1 i1 f2 f4 f8 g"),
    "depth": (partial(depth_field, unit=1000), (4, 5), "u2 u4 u8 i2 i4 i8"),
    "metre": (metre_field, (4, 5), "f2 f4 f8 g"),
    "map": (partial(map_field, top=1.0), (4, 5), "u2 u4 u8 i2 i4 i8"),
}
DTYPES = [
    "?",
    "u1",
    "u2",
    "u4",
    "u8",
    "i1",
    "i2",
    "i4",
    "i8",
    "f2",
    "f4",
    "f8",
    "g",
    "F",
    "D",
    "G",
    "M8[s]",
    "m8",
    "m8[s]",
    "U3",
    "S3",
    "V4",
    "O",
]


@pytest.mark.parametrize("name", FIELDS)
def test_every_dtype_in_either_order_of_bytes(name: str) -> None:
    field, shape, taken = FIELDS[name]
    for dtype in [*map(np.dtype, DTYPES), np.dtype([("x", "f4"), ("y", "f4")])]:
        array = np.ones(shape, "u1").astype(dtype) if dtype.kind not in "OV" else np.empty(shape, dtype)
        for order in "<>":
            stored = array.astype(dtype.newbyteorder(order))
            if dtype in [np.dtype(one) for one in taken.split()]:
                assert torch.equal(field(stored, "here"), field(array, "here"))
            else:
                with pytest.raises(ValueError, match="here"):
                    field(stored, "here")


def test_metres_beyond_float32_are_not_finite() -> None:
    with pytest.raises(ValueError, match=r"here: depth is negative or not finite"):
        metre_field(np.full((2, 2), 1e300), "here")


def test_a_folder_with_arrays_of_odd_dtypes(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((4, 5, 3))
    for name, dtype in {"long": "g", "big": ">f8", "single": "f4"}.items():
        np.save(tmp_path / f"{name}.npy", values.astype(dtype))
    photos, _ = find_photos([tmp_path])
    found = {name: x for one in photos for name, x in one.read()}
    assert torch.equal(found["long"], found["single"])
    assert torch.equal(found["big"], found["single"])
    np.save(tmp_path / "when.npy", np.zeros((4, 5, 3), "M8[s]"))
    with pytest.raises(ValueError, match=r"when\.npy.*datetime64.*must hold numbers"):
        find_photos([tmp_path])
