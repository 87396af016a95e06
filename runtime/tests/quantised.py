"""Quantised ONNX models as onnxruntime.quantization writes them, with zeros: QuantizeLinear and DequantizeLinear around each layer."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import secateur_runtime
from models import ours, sparse

ISAS = ["", "avx2", "portable"]
TYPES = {"uint8": np.uint8, "int8": np.int8}


class Graph:
    """A model that grows node by node; every method returns the name of what it adds."""

    def __init__(self):
        self.nodes, self.constants, self.count = [], [], 0

    def node(self, operation, inputs, **attributes):
        self.count += 1
        out = f"v{self.count}"
        self.nodes.append(helper.make_node(operation, inputs, [out], name=f"n{self.count}", **attributes))
        return out

    def constant(self, value):
        self.count += 1
        self.constants.append(numpy_helper.from_array(np.asarray(value), f"c{self.count}"))
        return f"c{self.count}"

    def pair(self, scale, zero):
        return [self.constant(np.asarray(scale, np.float32)), self.constant(zero)]

    def finish(self, inputs, output):
        """The bytes of the model; inputs are {name: (dtype, shape)}."""
        types = {np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.int8): TensorProto.INT8}
        graph = helper.make_graph(
            self.nodes,
            "g",
            [
                helper.make_tensor_value_info(name, types.get(np.dtype(dtype), TensorProto.FLOAT), shape)
                for name, (dtype, shape) in inputs.items()
            ],
            [helper.make_empty_tensor_value_info(output)],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return model.SerializeToString()


def to_int8(w, per_channel=True, axis=0):
    """Symmetric int8 weights and their scales."""
    rest = tuple(i for i in range(w.ndim) if i != axis)
    most = np.abs(w).max(rest) if per_channel else np.abs(w).max()
    scale = np.where(most > 0, most / 127, 1).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(w.ndim)] if per_channel else ()
    return np.rint(w / scale.reshape(shape)).astype(np.int8), scale


def layer(
    shape, weights, density, *, random=None, pattern=1, scattered=False, x="uint8", y="uint8", zero=None, y_zero=None, y_scale=0.02, x_scale=0.03,
    per_channel=True, bias=True, behind=(), operation="Conv", **attributes,
):  # fmt: skip
    """A model of one quantised layer, whose input is bytes already, and bytes to try it on.

    `y` is the type of its output, "float32" where nothing is quantised behind; `behind` are activations: "Relu", or the two
    bounds of a Clip. `weights` is their shape, outputs first whatever the operation wants.
    """
    random = random or np.random.default_rng(0)
    g = Graph()
    axis = 0 if operation == "Conv" or attributes.get("transB") else 1
    w = sparse(weights, density, random, pattern, scattered)
    w = w if axis == 0 else np.ascontiguousarray(w.T)
    q, scale = to_int8(w, per_channel, axis)
    zero = (128 if x == "uint8" else 0) if zero is None else zero
    y_zero = (128 if y == "uint8" else 0) if y_zero is None else y_zero
    ends = g.node("DequantizeLinear", ["x", *g.pair(x_scale, TYPES[x](zero))])
    options = {"axis": axis} if per_channel else {}
    zeros = np.zeros_like(scale, np.int8)
    inputs = [ends, g.node("DequantizeLinear", [g.constant(q), *g.pair(scale, zeros)], **options)]
    if bias:
        outputs = w.shape[axis]
        b = random.integers(-9000, 9000, outputs).astype(np.int32)
        b_scale = (np.float32(x_scale) * scale).astype(np.float32)
        pair = g.pair(b_scale, np.zeros(b_scale.shape, np.int32))
        inputs.append(
            g.node("DequantizeLinear", [g.constant(b), *pair], **({"axis": 0} if per_channel else {}))
        )
    end = g.node(operation, inputs, **attributes)
    for step in behind:
        bounds = [] if step == "Relu" else [g.constant(np.float32(bound)) for bound in step]
        end = g.node("Relu" if step == "Relu" else "Clip", [end, *bounds])
    if y != "float32":
        end = g.node("QuantizeLinear", [end, *g.pair(y_scale, TYPES[y](y_zero))])
    known = np.iinfo(TYPES[x])
    tried = [size or 1 for size in shape]
    feeds = {"x": random.integers(known.min, known.max, tried, endpoint=True).astype(TYPES[x])}
    return g.finish({"x": (TYPES[x], shape)}, end), feeds


def open_ours(data, claimed=1, **options):
    try:
        session = ours(data, **options)
    except ValueError:  # instructions that this processor has not
        pytest.skip(str(options))
    report = secateur_runtime.report(session)
    assert sum("int8" in one.note for one in report.layers if one.ours) == claimed, str(report)
    return session


def reference(data):
    """ONNX Runtime's CPU provider, with its int8 convolutions (it takes those of uint8 only by itself)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def wide():
    """Does ONNX Runtime multiply bytes exactly here? Without VNNI its sums of two products saturate."""
    return "vnni" in str(secateur_runtime.report(ours(layer((1, 4, 4, 4), (4, 4, 1, 1), 0.5)[0])))


EXACT = wide()


def agree(data, feeds, exact=True, claimed=1, **options):
    """The same integers as ONNX Runtime; where it computes in float32 itself, one in a thousand may be its neighbour."""
    found = open_ours(data, claimed, **options).run(None, feeds)[0]
    expected = reference(data).run(None, feeds)[0]
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    apart = np.abs(found.astype(np.int32) - expected.astype(np.int32))
    if EXACT or not exact:
        assert not apart.size or apart.max() <= (not exact)
        assert np.count_nonzero(apart) <= 1e-3 * apart.size + 1
    return found


def changed(data, what):
    """The model after `what` has been done to its graph."""
    model = onnx.load_from_string(data)
    what(model.graph)
    return model.SerializeToString()


def constant(graph, node, place, value):
    """Give the input of a node at this place another value."""
    name = graph.node[node].input[place]
    for one in graph.initializer:
        if one.name == name:
            one.CopyFrom(numpy_helper.from_array(value, name))
