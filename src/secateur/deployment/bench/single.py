"""Milliseconds of a single layer in an engine, for tables of latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from secateur.deployment.engines import kept_signal_stack, need, quiet

LayerEngine = Literal["onnxruntime", "openvino"]
_LEAST, _SECONDS = 5, 0.03  # passes, and seconds that are spent on them
_IR, _OPSET = 8, 17


@dataclass(frozen=True)
class Single:
    """A layer by itself.

    Args:
        inputs: Channels, of all groups.
        outputs: Channels.
        shape: Of the input without its channels: (N, H, W) or (N, L) of a convolution, (rows,) of a linear layer.
        groups: Of a convolution.
        kernel: Of a convolution, with the three below; empty for a linear layer.
        stride: In elements.
        padding: At each side.
        dilation: In elements.
    """

    inputs: int
    outputs: int
    shape: tuple[int, ...]
    groups: int = 1
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()


def layer_ms(layer: Single, engine: LayerEngine, threads: int = 1) -> float:
    """The lower quartile of some passes; a layer of a network takes about as long as by itself.

    Raises:
        EngineMissingError: If the engine is not installed; it says what to install.
    """
    run = _runner(layer, engine, threads)
    run()
    taken: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(taken) < _LEAST or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return float(np.quantile(taken, 0.25)) * 1e3


def _runner(layer: Single, engine: LayerEngine, threads: int) -> Callable[[], object]:
    model, x = _model(layer)
    if engine == "openvino":
        (openvino,) = need("openvino", "openvino")
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        with quiet(), kept_signal_stack():
            core = openvino.Core()
            request = core.compile_model(core.read_model(model), "CPU", options).create_infer_request()
        return lambda: request.infer([x])
    (runtime,) = need("onnx", "onnxruntime")
    given = runtime.SessionOptions()
    given.intra_op_num_threads, given.inter_op_num_threads = threads, 1
    given.add_session_config_entry("session.force_spinning_stop", "1")
    session = runtime.InferenceSession(model, given, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


def _model(layer: Single) -> tuple[bytes, np.ndarray[Any, Any]]:
    """The layer with a ReLU behind it as an ONNX file, and an input."""
    onnx, helper, numpy_helper = need("onnx", "onnx", "onnx.helper", "onnx.numpy_helper")
    rng = np.random.default_rng(0)
    convolution = bool(layer.kernel)
    shape: Sequence[int] = (
        (layer.shape[0], layer.inputs, *layer.shape[1:]) if convolution else (*layer.shape, layer.inputs)
    )
    size = (
        (layer.outputs, layer.inputs // layer.groups, *layer.kernel)
        if convolution
        else (layer.inputs, layer.outputs)
    )
    weight = (rng.standard_normal(size) * 0.05).astype(np.float32)
    if convolution:
        attributes = {"group": layer.groups, "kernel_shape": layer.kernel, "strides": layer.stride}
        attributes |= {"pads": [*layer.padding, *layer.padding], "dilations": layer.dilation}
        nodes = [helper.make_node("Conv", ["x", "w", "b"], ["h"], **attributes)]
    else:
        nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"])]
    nodes.append(helper.make_node("Relu", ["h"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(np.zeros(layer.outputs, np.float32), "b"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    return model.SerializeToString(), rng.standard_normal(shape).astype(np.float32)
