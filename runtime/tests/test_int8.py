"""Quantised layers with zeros: the very integers of ONNX Runtime's CPU provider, in every instruction set."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

import secateur_runtime
from models import close, helper, model, ours, sparse
from quantised import layer

ISAS = ["", "avx2", "portable"]
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
    return "vnni" in str(secateur_runtime.report(ours(layer([1, 4, 4, 4], (4, 4, 1, 1), 0.5)[0])))


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
        assert c * k < 30 or found.size < 100 or len(np.unique(found)) > 20, "the scale makes everything one number"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_densities_and_scales_for_all(density, isa):
    for per_channel in (True, False):
        data, feeds = layer(
            (1, 33, 9, 20), (37, 33, 3, 3), density, per_channel=per_channel, zero=200, pads=[1] * 4, y_scale=0.3
        )
        agree(data, feeds, isa=isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("behind", [["Relu"], [(0.0, 6.0)], [(-1.0, 2.5)], ["Relu", (-9.0, 3.0)], [(5.0, 6.0)]], ids=str)
def test_activations(behind, isa):
    for y, y_zero in [("uint8", 0), ("uint8", 77), ("int8", -128), ("int8", 3)]:
        data, feeds = layer((1, 24, 10, 13), (20, 24, 1, 1), 0.2, behind=behind, y=y, y_zero=y_zero, y_scale=0.03)
        agree(data, feeds, exact=False, isa=isa)


def test_an_activation_beyond_what_the_output_can_say():
    data, feeds = layer((1, 8, 5, 5), (8, 8, 1, 1), 0.3, behind=[(100.0, 200.0)], y_scale=0.01)
    assert (agree(data, feeds, exact=False) == 255).all()


@pytest.mark.parametrize("isa", ISAS)
def test_an_output_that_stays_float(isa):
    for x, behind in [("uint8", []), ("int8", ["Relu"]), ("uint8", [(-2.0, 3.0)])]:
        for weights, attributes in [((30, 20, 3, 3), {"pads": [2] * 4, "dilations": [2, 2]}), ((10, 20, 1, 1), {})]:
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
            data, feeds = layer((1, 64, 4, 5), (4, 64, 5, 5), 1, x=x, y=x, zero=zero, y_scale=1e-9, pads=[2] * 4, per_channel=False)
            data = rebuilt(data, lambda w, sign=sign: np.full_like(w, 127 * sign))
            feeds["x"][...] = np.iinfo(feeds["x"].dtype).max
            agree(data, feeds)


def rebuilt(data, change):
    """The model with other weights."""
    model = onnx.load_from_string(data)
    for one in model.graph.initializer:
        array = onnx.numpy_helper.to_array(one)
        if array.ndim > 1 and array.dtype == np.int8:
            one.CopyFrom(onnx.numpy_helper.from_array(change(array), one.name))
    return model.SerializeToString()


def test_a_chain_as_it_is_quantised(tmp_path):
    """By onnxruntime.quantization, with a residual: all three are ours, and bytes go from one to the next."""
    random = np.random.default_rng(0)
    w1, w2 = sparse((32, 16, 3, 3), 0.2, random), sparse((32, 32, 1, 1), 0.2, random)
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"]),
        helper.make_node("Add", ["c", "b"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("Conv", ["e", "w2"], ["y"]),
    ]
    constants = {"w1": w1, "w2": w2, "b1": random.standard_normal(32).astype(np.float32)}
    source, path = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    source.write_bytes(model(nodes, {"x": [1, 16, 12, 14]}, constants))
    image = lambda: {"x": random.standard_normal((1, 16, 12, 14)).astype(np.float32)}  # noqa: E731
    images = iter([image() for _ in range(3)])

    class Images(CalibrationDataReader):
        def get_next(self):
            return next(images, None)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(source, path, Images(), per_channel=True, weight_type=QuantType.QInt8)
    feeds = image()
    found = open_ours(path.read_bytes(), 3).run(None, feeds)[0]
    assert np.array_equal(found, reference(path.read_bytes()).run(None, feeds)[0]) or not EXACT


def left(data, why):
    (one,) = secateur_runtime.report(ours(data)).layers
    assert not one.ours
    assert why in one.note, one.note


def changed(data, what):
    """The model after `what` has been done to its graph."""
    loaded = onnx.load_from_string(data)
    what(loaded.graph)
    return loaded.SerializeToString()


def test_what_is_left_says_why():
    data, _ = layer((1, 8, 6, 6), (8, 8, 3, 3), 0.2)

    def constant(graph, node, place, value):
        name = graph.node[node].input[place]
        for one in graph.initializer:
            if one.name == name:
                one.CopyFrom(onnx.numpy_helper.from_array(value, name))

    def unsigned(graph):
        constant(graph, 1, 0, np.full((8, 8, 3, 3), 7, np.uint8))
        constant(graph, 1, 2, np.full(8, 128, np.uint8))

    left(changed(data, unsigned), "not as int8")
    left(changed(data, lambda g: constant(g, 1, 2, np.full(8, 1, np.int8))), "zero point")
    left(changed(data, lambda g: constant(g, 2, 1, np.full(8, 0.5, np.float32))), "bias")
    for value in (np.nan, np.inf, -1.0):
        left(changed(data, lambda g, value=value: constant(g, 0, 1, np.float32(value))), "scale")
        left(changed(data, lambda g, value=value: constant(g, 1, 1, np.full(8, value, np.float32))), "scale")
    left(changed(data, lambda g: constant(g, 4, 1, np.float32(0))), "scale")

    def scale_as_input(graph):
        name = graph.node[0].input[1]
        kept = [one for one in graph.initializer if one.name != name]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, []))

    left(changed(data, scale_as_input), "not constant")


def test_it_is_claimed_where_it_pays():
    for density, pattern, expected in [(0.1, 1, True), (0.1, 4, True), (0.9, 1, False), (1, 1, False)]:
        data, feeds = layer((1, 256, 31, 41), (256, 256, 3, 3), density, pattern=pattern, pads=[1] * 4)
        session = secateur_runtime.session(data, threads=1, strict=True)
        (one,) = secateur_runtime.report(session).layers
        assert one.ours == expected, one
        assert f"int8 {pattern}x1" in one.note or not expected
    data, feeds = layer((1, 64, 30, 30), (64, 1, 3, 3), 1, group=64, pads=[1] * 4)  # depthwise
    assert not secateur_runtime.report(secateur_runtime.session(data, threads=1, strict=True)).layers[0].ours


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
