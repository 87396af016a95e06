"""Quantised layers with zeros: the very integers of ONNX Runtime's CPU provider, in every instruction set."""

import numpy as np
import pytest

from models import close
from quantised import EXACT, ISAS, agree, changed, constant, layer, open_ours, reference

# inputs, outputs, kernel, stride, dilation, pad, height, width, groups
GRID = [
    (16, 32, 3, 1, 1, 1, 10, 12, 1),
    (64, 48, 3, 1, 2, 2, 31, 41, 1),
    (32, 32, 3, 1, 12, 12, 31, 41, 1),
    (16, 16, 3, 1, 24, 24, 31, 41, 1),
    (8, 16, 7, 2, 1, 3, 33, 71, 1),
    (12, 20, 3, 2, 1, 1, 31, 41, 1),
    (12, 20, 1, 2, 1, 0, 13, 17, 1),
    (8, 8, 5, 3, 2, 4, 29, 23, 1),
    (64, 50, 1, 1, 1, 0, 13, 17, 1),
    (700, 40, 1, 1, 1, 0, 21, 19, 1),
    (30, 40, 1, 1, 1, 0, 1, 1, 1),
    (32, 32, 3, 1, 1, 1, 7, 7, 4),
    (5, 7, 3, 1, 1, 5, 1, 1, 1),
    (4, 6, 1, 1, 1, 2, 5, 5, 1),
    (3, 5, 3, 1, 1, 1, 40, 1, 1),
]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("case", GRID, ids=str)
def test_grid(case, isa):
    c, o, k, s, d, p, height, width, groups = case
    for share, (x, zero), (y, y_zero) in [
        (1, ("uint8", 3), ("uint8", 131)),
        (2, ("int8", -7), ("int8", 0)),
        (4, ("uint8", 255), ("int8", 5)),
    ]:
        data, feeds = layer(
            (2, c, height, width), (o, c // groups, k, k), 0.2, pattern=share, x=x, y=y, zero=zero, y_zero=y_zero,
            y_scale=0.02 * k * np.sqrt(c), strides=[s, s], dilations=[d, d], pads=[p] * 4, group=groups,
        )  # fmt: skip
        found = agree(data, feeds, x == y, share=share, isa=isa)
        assert c * k < 30 or found.size < 100 or len(np.unique(found)) > 20, (
            "the scale makes everything one number"
        )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_densities_and_scales_for_all(density, isa):
    for per_channel in (True, False):
        data, feeds = layer(
            (1, 33, 9, 20),
            (37, 33, 3, 3),
            density,
            per_channel=per_channel,
            zero=200,
            pads=[1] * 4,
            y_scale=0.3,
        )
        agree(data, feeds, isa=isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "behind", [["Relu"], [(0.0, 6.0)], [(-1.0, 2.5)], ["Relu", (-9.0, 3.0)], [(5.0, 6.0)]], ids=str
)
def test_activations(behind, isa):
    for y, y_zero in [("uint8", 0), ("uint8", 77), ("int8", -128), ("int8", 3)]:
        data, feeds = layer(
            (1, 24, 10, 13), (20, 24, 1, 1), 0.2, behind=behind, y=y, y_zero=y_zero, y_scale=0.03
        )
        agree(data, feeds, exact=False, isa=isa)


def test_an_activation_beyond_what_the_output_can_say():
    data, feeds = layer((1, 8, 5, 5), (8, 8, 1, 1), 0.3, behind=[(100.0, 200.0)], y_scale=0.01)
    assert (agree(data, feeds, exact=False) == 255).all()


@pytest.mark.parametrize("isa", ISAS)
def test_an_output_that_stays_float(isa):
    for x, behind in [("uint8", []), ("int8", ["Relu"]), ("uint8", [(-2.0, 3.0)])]:
        for weights, attributes in [
            ((30, 20, 3, 3), {"pads": [2] * 4, "dilations": [2, 2]}),
            ((10, 20, 1, 1), {}),
        ]:
            data, feeds = layer((2, 20, 9, 11), weights, 0.2, x=x, y="float32", behind=behind, **attributes)
            close(open_ours(data, isa=isa).run(None, feeds)[0], reference(data).run(None, feeds)[0])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("tokens", [(1,), (5,), (64,), (3, 50)], ids=str)
def test_matrices(tokens, isa):
    for operation, y, attributes in [
        ("MatMul", "uint8", {"bias": False}),
        ("MatMul", "uint8", {"bias": False, "per_channel": False}),
        ("MatMul", "float32", {"bias": False}),
        ("Gemm", "uint8", {"transB": 1}),
        ("Gemm", "uint8", {}),
        ("Gemm", "float32", {"transB": 1}),
    ]:
        if operation == "Gemm" and len(tokens) > 1:
            continue
        for outputs, inputs in [(50, 70), (16, 700), (7, 3)]:
            data, feeds = layer(
                (*tokens, inputs), (outputs, inputs), 0.2, y=y, zero=99, operation=operation, y_scale=0.02 * inputs**0.5, **attributes
            )  # fmt: skip
            if y == "float32":
                close(open_ours(data, isa=isa).run(None, feeds)[0], reference(data).run(None, feeds)[0])
            else:
                agree(data, feeds, isa=isa)


def test_threads_and_shapes_that_change():
    data, _ = layer((None, 40, None, None), (90, 40, 3, 3), 0.1, pads=[1] * 4, strides=[2, 2])
    session, stock = open_ours(data, threads=3), reference(data)
    for shape in [(1, 40, 9, 9), (2, 40, 30, 31), (1, 40, 3, 200), (0, 40, 9, 9), (1, 40, 9, 9)]:
        x = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
        assert np.array_equal(session.run(None, {"x": x})[0], stock.run(None, {"x": x})[0]) or not EXACT


def test_sums_that_wrap():
    """Extreme weights and inputs: int32 wraps as it does in ONNX Runtime, and huge sums saturate on their own side."""
    for x, zero in [("uint8", 0), ("uint8", 255), ("int8", -128), ("int8", 127)]:
        for sign in (1, -1):
            data, feeds = layer(
                (1, 64, 4, 5),
                (4, 64, 5, 5),
                1,
                x=x,
                y=x,
                zero=zero,
                y_scale=1e-9,
                pads=[2] * 4,
                per_channel=False,
            )
            data = changed(
                data,
                lambda graph, sign=sign: constant(graph, 1, 0, np.full((4, 64, 5, 5), 127 * sign, np.int8)),
            )
            feeds["x"][...] = np.iinfo(feeds["x"].dtype).max
            agree(data, feeds)


@pytest.mark.parametrize("seed", range(30))
def test_fuzz(seed):
    random = np.random.default_rng(seed)
    pick = lambda *of: of[random.integers(len(of))]  # noqa: E731
    groups, k, d, s = int(random.integers(1, 4)), pick(1, 3, (2, 5)), pick(1, 2, 9), pick(1, 2, 3)
    kernel = (k, k) if isinstance(k, int) else k
    c, o = int(random.integers(1, 90)), int(random.integers(1, 90))
    pads = [int(random.integers(0, 12)) for _ in range(4)]
    size = [(a - 1) * d + int(random.integers(1, 60)) for a in kernel]
    x, y = pick(("uint8", "uint8"), ("int8", "int8"), ("uint8", "int8"))
    zeros = {"uint8": lambda: int(random.integers(0, 256)), "int8": lambda: int(random.integers(-128, 128))}
    data, feeds = layer(
        (int(random.integers(1, 3)), c * groups, *size), (o * groups, c, *kernel), pick(0.01, 0.1, 0.4), random=random,
        pattern=pick(1, 2, 4), x=x, y=y, zero=zeros[x](), y_zero=zeros[y](), y_scale=float(10 ** random.uniform(-2, 1)),
        per_channel=bool(random.integers(2)), bias=bool(random.integers(2)), group=groups, strides=[s, s], dilations=[d, d], pads=pads,
    )  # fmt: skip
    agree(data, feeds, x == y, share=pick(0, 1, 2, 4), threads=pick(1, 3), isa=pick(*ISAS))
