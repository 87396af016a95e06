"""Models that nobody should write: an error or a result, never a crash. Each runs in this process; a crash fails them all."""

import sys

import numpy as np
import onnxruntime
import pytest

import secateur_runtime
from models import close, conv, helper, model, ours, sparse, stock

node = helper.make_node
library = sys.modules["secateur_runtime.library"]
HUGE = 2**62


def attempt(data, feeds):
    """Open and run; whatever ONNX Runtime or we refuse is fine."""
    try:
        session = secateur_runtime.session(data, threads=1, options={"force": 1}, strict=True)
        return session.run(None, feeds)
    except secateur_runtime.Unsupported:
        raise
    except Exception as error:
        return error


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [0, 1]}, {"strides": [-1, -1]}, {"strides": [HUGE, HUGE]}, {"strides": [100, 100]}, {"strides": [1]},
        {"dilations": [0, 0]}, {"dilations": [-3, 1]}, {"dilations": [HUGE, 1]}, {"dilations": [1, 2**31]},
        {"pads": [-1, -1, -1, -1]}, {"pads": [HUGE] * 4}, {"pads": [2**31] * 4}, {"pads": [1]}, {"pads": [1] * 9},
        {"group": 0}, {"group": -1}, {"group": 3}, {"group": HUGE}, {"kernel_shape": [5, 5]}, {"kernel_shape": [3]},
        {"kernel_shape": [-3, HUGE]}, {"auto_pad": "WRONG"}, {"auto_pad": "x" * 1000}, {"auto_pad": ""},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("shape", [(1, 8, 6, 6), (1, 8, 1, 1), (0, 8, 6, 6), (1, 8, 0, 0)], ids=str)
def test_attributes(attributes, shape):
    w = sparse((8, 8, 3, 3), 0.2)
    if library.version() < (1, 28) and (
        0 in attributes.get("strides", ()) or -1 in attributes.get("pads", ())
    ):
        pytest.skip("ONNX Runtime before 1.28 dies of it by itself")
    for known in (shape, [None] * 4):
        attempt(conv(known, w, **attributes), {"x": np.ones(shape, np.float32)})


@pytest.mark.parametrize(
    "weights",
    [(8, 8), (8,), (), (8, 8, 3), (8, 8, 3, 3, 3), (0, 8, 3, 3), (8, 0, 3, 3), (8, 8, 0, 3)],
    ids=str,
)
@pytest.mark.parametrize("operation", ["Conv", "Gemm", "MatMul"])
@pytest.mark.parametrize("x", [(1, 8, 6, 6), (8, 8), (8,), (), (1, 8, 6)], ids=str)
def test_ranks(weights, operation, x):
    if library.version() < (1, 32) and operation == "Conv":
        pytest.skip("ONNX Runtime before 1.32 dies of it by itself")
    nodes, constants = [node(operation, ["x", "w"], ["y"])], {"w": np.zeros(weights, np.float32)}
    for known in (x, None):
        attempt(model(nodes, {"x": known}, constants), {"x": np.ones(x, np.float32)})


@pytest.mark.parametrize("bias", [(7,), (9,), (8, 1), (), (0,)], ids=str)
def test_biases(bias):
    for nodes, w, x in [
        ([node("Conv", ["x", "w", "b"], ["y"])], (8, 8, 1, 1), (1, 8, 4, 4)),
        ([node("Gemm", ["x", "w", "b"], ["y"])], (8, 8), (4, 8)),
    ]:
        constants = {"w": sparse(w, 0.3), "b": np.ones(bias, np.float32)}
        attempt(model(nodes, {"x": x}, constants), {"x": np.ones(x, np.float32)})


def test_inputs_that_are_not_what_the_model_says():
    w = sparse((8, 8, 3, 3), 0.2)
    data = conv([None] * 4, w)
    for shape in [
        (1, 7, 6, 6),
        (1, 9, 6, 6),
        (1, 8, 2, 2),
        (1, 8, 6),
        (8,),
        (1, 8, 2**20, 0),
        (2**40, 8, 0, 9),
    ]:
        result = attempt(data, {"x": np.ones(shape, np.float32)})
        assert isinstance(result, Exception) or 0 in result[0].shape, shape


def test_weights_that_are_not_numbers():
    w = sparse((8, 8, 1, 1), 0.3)
    w[0, 0], w[1, 1], w[2, 2] = np.nan, np.inf, -np.inf
    (y,) = attempt(conv([1, 8, 4, 4], w), {"x": np.ones((1, 8, 4, 4), np.float32)})
    assert np.isnan(y[0, 0]).all()
    assert not np.isfinite(y[0, 1:3]).any()
    assert np.isfinite(y[0, 3:]).all()


def test_other_types_are_left():
    for dtype in (np.float16, np.float64):
        w = sparse((8, 8, 1, 1), 0.3).astype(dtype)
        attempt(conv([1, 8, 4, 4], w), {"x": np.ones((1, 8, 4, 4), dtype)})


def test_padding_alone_makes_no_crash():
    session = ours(conv([1, 8, None, None], sparse((8, 8, 3, 3), 0.2), pads=[2] * 4))
    with pytest.raises(Exception, match="an input without pixels"):
        session.run(None, {"x": np.zeros((1, 8, 0, 0), np.float32)})


def test_a_kernel_larger_than_its_input_is_refused():
    for strides in ([2, 2], [1, 1]):
        data = conv([1, 8, None, None], sparse((8, 8, 3, 3), 0.2), strides=strides)
        for session in (ours(data), stock(data)):
            with pytest.raises(Exception, match=r"smaller than the kernel|Invalid input shape"):
                session.run(None, {"x": np.zeros((1, 8, 2, 2), np.float32)})


def test_a_constant_input_is_left_to_onnx_runtime():
    nodes = [helper.make_node("Conv", ["k", "w"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])]
    data = model(
        nodes, {"x": [1, 6, 5, 5]}, {"k": np.ones((1, 4, 5, 5), np.float32), "w": sparse((6, 4, 1, 1), 0.5)}
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = secateur_runtime.session(data, threads=1, options={"force": 1}, session_options=options)
    x = np.zeros((1, 6, 5, 5), np.float32)
    close(session.run(None, {"x": x})[0], stock(data).run(None, {"x": x})[0])


def test_layers_with_long_names_are_told_apart():
    long = "x" * 150
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name=f"{long}.a"),
        helper.make_node("Sin", ["c"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["y"], name=f"{long}.b"),
    ]
    session = ours(model(nodes, {"x": [1, 6, 5, 5]}, {"w": sparse((6, 6, 1, 1), 0.5)}))
    session.run(None, {"x": np.zeros((1, 6, 5, 5), np.float32)})
    assert [layer.calls for layer in secateur_runtime.report(session).layers] == [1, 1]
