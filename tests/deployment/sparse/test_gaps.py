"""Gaps and values give back the weight, whatever it holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from secateur.deployment.sparse.gaps import decode, encode, room

KINDS = [np.float32, np.float16, np.float64, np.int8, np.uint8]


@given(
    drawn.arrays(
        st.sampled_from(KINDS),
        drawn.array_shapes(max_dims=4, max_side=40),
        elements=st.integers(0, 3),
        fill=st.just(0),
    )
)
def test_every_weight_comes_back(weight: np.ndarray) -> None:
    gaps, values = encode(weight)
    assert gaps.dtype == np.uint8
    assert gaps.shape == values.shape
    assert np.array_equal(decode(gaps, values, weight.shape), weight)


@pytest.mark.parametrize("size", [1, 5000])
def test_of_zeros_alone_one_is_stored(size: int) -> None:
    gaps, values = encode(np.zeros(size, np.float32))
    assert len(gaps) == len(values) == 1
    assert np.array_equal(decode(gaps, values, (size,)), np.zeros(size, np.float32))


@pytest.mark.parametrize("place", [0, 1, 254, 255, 256, 257, 509, 510, 511, 512, 4 * 255])
def test_a_long_way_is_cut_into_bytes(place: int) -> None:
    weight = np.zeros(2000, np.float32)
    weight[place] = weight[-1] = 2.5
    gaps, values = encode(weight)
    assert np.array_equal(decode(gaps, values, weight.shape), weight)
    assert len(values) <= 2 + place // 255 + (1999 - place) // 255


def test_what_is_no_number_is_a_value_and_a_negative_zero_is_none() -> None:
    weight = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 0.0], np.float32)
    gaps, values = encode(weight)
    assert len(values) == 4
    assert np.array_equal(decode(gaps, values, weight.shape), weight, equal_nan=True)
    assert not np.signbit(decode(gaps, values, weight.shape)[1])


@pytest.mark.parametrize("density", [0.0, 0.001, 0.02, 0.5, 1.0])
def test_the_room_is_known_before(density: float) -> None:
    rng = np.random.default_rng(0)
    weight = (rng.random(100_000) < density).astype(np.float32)
    gaps, values = encode(weight)
    assert gaps.nbytes + values.nbytes <= room(weight) + 5 * (len(weight) // 255 + 1)
    assert room(weight) <= gaps.nbytes + values.nbytes + len(weight) // 255
