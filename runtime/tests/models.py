"""Small ONNX models with zeros, and the provider against ONNX Runtime's own."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import secateur_runtime

RANDOM = np.random.default_rng(0)


def sparse(shape, density, random=RANDOM, pattern=1, scattered=False):
    """Normal numbers, of which a fraction is kept; `pattern` neighbours along the first axis share their zeros.

    `scattered`: then a few (2 % and one) along the first axis are taken out, and the others shuffled.
    """
    n, lost = shape[0], (1 + shape[0] // 50) * scattered
    weights = random.standard_normal(shape).astype(np.float32)
    kept = np.repeat(random.random((-(-(n + lost) // pattern), *shape[1:])) < density, pattern, 0)
    return weights * (random.permutation(kept) if scattered else kept)[:n]


def model(nodes, inputs, constants, outputs=("y",), opset=20):
    """A model of nodes; inputs are {name: shape}, constants {name: array}."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10
    ).SerializeToString()


def conv(x, w, b=None, **attributes):
    """A model of one convolution."""
    constants = {"w": w} if b is None else {"w": w, "b": b}
    return model([helper.make_node("Conv", ["x", *constants], ["y"], **attributes)], {"x": x}, constants)


def stock(data, threads=1):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def ours(data, threads=1, **options):
    return secateur_runtime.session(data, threads=threads, options={"force": 1, **options}, strict=True)


def close(found, expected, tolerance=1e-5):
    """Equal to the tolerance, relative to the largest value."""
    assert found.shape == expected.shape
    if expected.size:
        scale = max(float(np.abs(expected).max()), 1e-3)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


def same(data, feeds, claimed=1, **options):
    """Run in both and compare; `claimed` layers have to be ours."""
    session = ours(data, **options)
    report = secateur_runtime.report(session)
    assert sum(layer.ours for layer in report.layers) == claimed, str(report)
    for found, expected in zip(session.run(None, feeds), stock(data).run(None, feeds), strict=True):
        close(found, expected)
    return session


__all__ = ["close", "conv", "helper", "model", "numpy_helper", "ours", "same", "sparse", "stock"]
