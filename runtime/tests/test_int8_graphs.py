"""Quantised layers in their graphs: as onnxruntime.quantization writes them, what is claimed, and what is left and why."""

import contextlib
import re
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from packaging.version import Version

import secateur_runtime
from models import conv, helper, model, ours, sparse
from quantised import EXACT, changed, constant, layer, open_ours, reference


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


def test_what_is_left_says_why():
    data, _ = layer((1, 8, 6, 6), (8, 8, 3, 3), 0.2)

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


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [0, 1]}, {"strides": [100, 100]}, {"dilations": [2**62, 1]}, {"pads": [-1] * 4}, {"pads": [2**31] * 4},
        {"group": 0}, {"group": 3}, {"kernel_shape": [5, 5]}, {"auto_pad": "SAME_LOWER"}, {"auto_pad": "WRONG"},
    ],
    ids=str,
)  # fmt: skip
def test_attributes_that_nobody_should_write(attributes):
    if Version(onnxruntime.__version__) < Version("1.28") and (
        0 in attributes.get("strides", ()) or -1 in attributes.get("pads", ())
    ):
        pytest.skip("ONNX Runtime before 1.28 dies of it by itself")
    for shape in [(1, 8, 6, 6), (1, 8, 1, 1), (0, 8, 6, 6), (1, 8, 0, 0), (None,) * 4]:
        data, feeds = layer(shape, (8, 8, 3, 3), 0.3, **attributes)
        with contextlib.suppress(Exception):  # whatever ONNX Runtime or we refuse is fine, a crash is not
            ours(data).run(None, feeds)


def test_numbers_in_other_places():
    """Zero points that are not given, scales in a list of one and a constant input."""
    data, feeds = layer((1, 8, 6, 6), (8, 8, 3, 3), 0.3, zero=0)

    def without(graph):
        for place in (0, 1, 2):
            del graph.node[place].input[2]

    expected = reference(data).run(None, feeds)[0]
    assert np.array_equal(open_ours(changed(data, without)).run(None, feeds)[0], expected) or not EXACT

    def listed(graph):
        constant(graph, 0, 1, np.array([0.03], np.float32))
        constant(graph, 0, 2, np.array([0], np.uint8))

    assert np.array_equal(open_ours(changed(data, listed)).run(None, feeds)[0], expected) or not EXACT

    def fixed(graph):
        graph.node[0].input[0] = "fixed"
        graph.initializer.append(onnx.numpy_helper.from_array(feeds["x"], "fixed"))

    session = ours(changed(data, fixed))
    assert np.array_equal(session.run(None, feeds)[0], expected) or not EXACT


def test_it_is_claimed_where_it_pays():
    for density, pattern, expected in [(0.1, 1, True), (0.1, 4, True), (0.9, 1, False), (1, 1, False)]:
        data, _ = layer((1, 256, 31, 41), (256, 256, 3, 3), density, pattern=pattern, pads=[1] * 4)
        session = secateur_runtime.session(data, threads=1, strict=True)
        (one,) = secateur_runtime.report(session).layers
        assert one.ours == expected, one
        assert f"int8 {pattern}x1" in one.note or not expected
    data, _ = layer((1, 64, 30, 30), (64, 1, 3, 3), 1, group=64, pads=[1] * 4)  # depthwise
    assert not secateur_runtime.report(secateur_runtime.session(data, threads=1, strict=True)).layers[0].ours


@pytest.mark.parametrize("quantised", [False, True])
def test_a_layer_that_is_left_says_what_would_pay(quantised):
    """And with that share of its weights it is ours, with a tenth more it is not."""
    shape, weights = (1, 64, 31, 41), (64, 64, 3, 3)

    def session(density, pattern):
        if quantised:
            data, _ = layer(shape, weights, density, pattern=pattern, pads=[1] * 4)
        else:
            data = conv(shape, sparse(weights, density, np.random.default_rng(0), pattern), pads=[1] * 4)
        return secateur_runtime.report(secateur_runtime.session(data, threads=1, strict=True)).layers[0]

    found = re.search(r"would pay with (\d+) % of the weights kept, in 4x1 with (\d+) %", session(1, 1).note)
    one, four = int(found[1]) / 100, int(found[2]) / 100
    assert 0.1 < one < four < 1
    for density, pattern in ((one, 1), (four, 4)):
        assert session(density - 0.05, pattern).ours
        assert not session(min(density + 0.1, 1), pattern).ours


def test_a_layer_that_is_left_says_no_more_than_its_figures():
    """Slower is what takes longer, what it costs its neighbours included."""
    words = set()
    for density in np.linspace(0.05, 0.5, 19):
        weights = sparse((16, 16, 3, 3), density, np.random.default_rng(0), 1)
        data = conv((1, 16, 31, 41), weights, pads=[1] * 4)
        (one,) = secateur_runtime.report(secateur_runtime.session(data, threads=1, strict=True)).layers
        if one.ours or "dense weights" in one.note:
            continue
        said = re.match(
            r"expected to be (slower|hardly faster) here \((\S+) ms against (\S+) ms dense\)", one.note
        )
        assert said, one.note
        words.add(said[1])
        assert (float(said[2]) < float(said[3])) == (said[1] == "hardly faster"), one.note
    assert words


def test_a_layer_too_small_to_gain_says_so():
    data, _ = layer((1, 4, 3, 3), (4, 4, 1, 1), 0.2)
    (one,) = secateur_runtime.report(secateur_runtime.session(data, threads=1, strict=True)).layers
    assert "however few" in one.note


def test_a_pooling_of_bytes_behind_it_is_counted():
    """ONNX Runtime's is slow where channels come first, so the layer before it is left; one whose pooling is elsewhere is ours."""
    session = lambda data: secateur_runtime.session(data, threads=1, strict=True)  # noqa: E731
    data, feeds = layer((1, 64, 40, 40), (64, 64, 3, 3), 0.1, pads=[1] * 4)
    assert secateur_runtime.report(session(data)).layers[0].ours

    def pooled(graph):
        scale, zero = graph.node[-1].input[1:]
        end = graph.output[0].name
        pool = helper.make_node("MaxPool", ["back"], ["most"], kernel_shape=[3, 3], strides=[2, 2])
        graph.node.extend([helper.make_node("DequantizeLinear", [end, scale, zero], ["back"]), pool])
        graph.node.append(helper.make_node("QuantizeLinear", ["most", scale, zero], ["pooled"]))
        graph.output[0].name = "pooled"

    data = changed(data, pooled)
    (one,) = secateur_runtime.report(session(data)).layers
    assert not one.ours
    assert "MaxPool" in one.note
    assert (
        np.array_equal(open_ours(data).run(None, feeds)[0], reference(data).run(None, feeds)[0]) or not EXACT
    )
