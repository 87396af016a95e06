"""Convolutions with zeros against ONNX Runtime's own, over a grid and over whatever hypothesis thinks of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secateur_runtime
from models import close, conv, ours, same, sparse, stock

# inputs, outputs, kernel, stride, dilation, pad, height, width, groups
GRID = [
    (16, 32, 3, 1, 1, 1, 10, 12, 1),
    (64, 48, 3, 1, 2, 2, 31, 41, 1),
    (32, 32, 3, 1, 12, 12, 31, 41, 1),
    (16, 16, 3, 1, 24, 24, 31, 41, 1),
    (8, 16, 7, 2, 1, 3, 33, 31, 1),
    (12, 20, 3, 2, 1, 1, 31, 41, 1),
    (12, 20, 1, 2, 1, 0, 13, 17, 1),
    (8, 8, 5, 3, 2, 4, 29, 23, 1),
    (64, 50, 1, 1, 1, 0, 13, 17, 1),
    (300, 40, 1, 1, 1, 0, 21, 19, 1),
    (300, 40, 1, 1, 1, 0, 2, 2, 1),
    (30, 40, 1, 1, 1, 0, 1, 1, 1),
    (32, 32, 3, 1, 1, 1, 7, 7, 4),
    (16, 16, 3, 1, 1, 1, 9, 9, 16),
    (5, 7, 3, 1, 1, 0, 3, 3, 1),
    (5, 7, 3, 1, 1, 5, 1, 1, 1),
    (4, 6, 1, 1, 1, 2, 5, 5, 1),
]


@pytest.mark.parametrize("isa", ["", "avx2", "portable"])
@pytest.mark.parametrize("case", GRID, ids=str)
def test_grid(case, isa):
    c, o, k, s, d, p, height, width, groups = case
    random = np.random.default_rng(0)
    x = random.standard_normal((2, c, height, width)).astype(np.float32)
    b = random.standard_normal(o).astype(np.float32)
    for share in (1, 2, 4):
        w = sparse((o, c // groups, k, k), 0.2, random, share)
        w[::3] = 0  # outputs of nothing
        data = conv(x.shape, w, b, strides=[s, s], dilations=[d, d], pads=[p] * 4, group=groups)
        try:
            same(data, {"x": x}, share=share, isa=isa)
        except ValueError:  # instructions that this processor has not
            pytest.skip(isa)


@pytest.mark.parametrize("isa", ["", "avx2", "portable"])
@pytest.mark.parametrize(
    "case",
    [
        (3, 1, 1, 1),
        (3, 2, 1, 1),
        (5, 2, 1, 2),
        (7, 1, 2, 3),
        (3, 1, 9, 9),
        (2, 3, 1, 0),
        (1, 1, 1, 0),
        (1, 2, 1, 0),
    ],
    ids=str,
)
def test_depthwise(case, isa):
    k, s, d, p = case
    random = np.random.default_rng(0)
    for height, width in [(30, 37), (7, 7), (19, 16), (20, 100)]:
        x = random.standard_normal((2, 6, height, width)).astype(np.float32)
        w, b = sparse((6, 1, k, k), 1, random), random.standard_normal(6).astype(np.float32)
        data = conv(
            x.shape,
            w,
            b,
            strides=[s, s],
            dilations=[d, d],
            pads=[p, p, p + 1, p + 2] if k > 1 else [0] * 4,
            group=6,
        )
        try:
            session = same(data, {"x": x}, isa=isa, threads=2)
        except ValueError:
            pytest.skip(isa)
        assert "depthwise" in secateur_runtime.report(session).layers[0].note


@st.composite
def convolutions(draw):
    spatial = draw(st.sampled_from([1, 2]))
    numbers = lambda low, high: draw(st.lists(st.integers(low, high), min_size=spatial, max_size=spatial))  # noqa: E731
    groups, kernel, dilation = draw(st.integers(1, 3)), numbers(1, 5), numbers(1, 6)
    c, o = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    attributes = {"kernel_shape": kernel, "dilations": dilation, "strides": numbers(1, 3), "group": groups}
    auto = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto == "NOTSET":
        attributes["pads"] = [draw(st.integers(0, 7)) for _ in range(2 * spatial)]
    else:
        attributes["auto_pad"] = auto
        if auto != "VALID":
            attributes["dilations"] = [1] * spatial  # ONNX Runtime refuses others
    reach = [(a - 1) * b + 1 for a, b in zip(kernel, attributes["dilations"], strict=True)]
    size = [draw(st.integers(r, r + 40)) for r in reach]
    density = draw(st.sampled_from([0.0, 0.02, 0.1, 0.3, 1.0]))
    return (draw(st.integers(1, 2)), c * groups, *size), (o * groups, c, *kernel), density, attributes


@settings(max_examples=60, deadline=None, derandomize=True)
@given(convolutions(), st.sampled_from([0, 1, 2, 4]), st.sampled_from([1, 3]), st.integers(0, 2**31))
def test_fuzz(case, share, threads, seed):
    shape, weights, density, attributes = case
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape).astype(np.float32)
    w = sparse(weights, density, random, (1, 2, 4)[seed % 3], seed % 5 < 3)
    b = random.standard_normal(weights[0]).astype(np.float32) if seed % 2 else None
    same(conv(shape, w, b, **attributes), {"x": x}, share=share, threads=threads)


@pytest.mark.parametrize("shape", [(1, 8, 1, 4000), (1, 8, 4000, 1), (0, 8, 9, 9), (1, 8, 3, 3)], ids=str)
def test_extreme_sizes(shape):
    w = sparse((16, 8, 3, 3), 0.1)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    same(conv([None, 8, None, None], w, pads=[1, 1, 1, 1]), {"x": x})


def test_every_row_dead_but_one():
    w = np.zeros((32, 64, 3, 3), np.float32)
    w[3, 60, 2, 1] = 2
    x = np.random.default_rng(0).standard_normal((1, 64, 20, 20)).astype(np.float32)
    same(conv(x.shape, w, pads=[1, 1, 1, 1]), {"x": x})


def test_shapes_may_change_from_run_to_run():
    w = sparse((24, 16, 3, 3), 0.1)
    data = conv([None, 16, None, None], w, pads=[2, 2, 2, 2], dilations=[2, 2])
    session, reference = ours(data, threads=2), stock(data)
    random = np.random.default_rng(0)
    for shape in [(1, 16, 9, 9), (2, 16, 30, 31), (1, 16, 5, 90), (1, 16, 9, 9), (3, 16, 17, 2)]:
        x = random.standard_normal(shape).astype(np.float32)
        close(session.run(None, {"x": x})[0], reference.run(None, {"x": x})[0])


def test_patterns_are_found_in_the_zeros():
    x = [1, 128, 31, 41]
    for pattern in (1, 2, 4):
        w = sparse((128, 128, 3, 3), 0.1, np.random.default_rng(0), pattern)
        session = secateur_runtime.session(conv(x, w, pads=[1, 1, 1, 1]), threads=1, strict=True)
        (layer,) = secateur_runtime.report(session).layers
        assert layer.ours
        assert f"{pattern}x1" in layer.note, layer


def test_inputs_that_are_not_finite():
    """What weights reach is as in ONNX Runtime; elsewhere zero times infinity may be 0, which the README says."""
    w = np.zeros((4, 4, 1, 1), np.float32)
    w[0, 0] = 1
    x = np.zeros((1, 4, 4, 4), np.float32)
    x[0, 0, 0, 0], x[0, 0, 1, 1] = np.inf, np.nan
    y = ours(conv(x.shape, w)).run(None, {"x": x})[0]
    assert np.isinf(y[0, 0, 0, 0])
    assert np.isnan(y[0, 0, 1, 1])
    assert (y[:, :, 2:] == 0).all()
