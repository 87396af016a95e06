"""Milliseconds of a single layer in an engine, and of weights that come from memory, for tables of latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from secateur.deployment.bench.worker import waited
from secateur.deployment.engines import kept_signal_stack, need, quiet
from secateur.problem import check_count

LayerEngine = Literal["onnxruntime", "openvino"]
_LEAST, _SECONDS = 5, 0.03  # passes, and seconds that are spent on them
_CLEAN, _TRIES = (
    0.05,
    5,
)  # share of the time without a core above which it is measured again, so often at most
_SHARE, _MANY = 0.5, 8  # of a layer that adds less than this share to the first, so many are added
_SMALLEST = 0.1  # of what a layer takes by itself: less is noise
_TURNS = 4  # of all sizes of weights
_IR, _OPSET = 8, 17
_SIDE = 512  # of a square weight in float32 that takes a megabyte (2^20 bytes)
_ROWS = 16  # that go through it: networks compute with what they read


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


class LayerTime(NamedTuple):
    """Milliseconds, and whether other programs left the core alone meanwhile."""

    ms: float
    clean: bool


def layer_ms(layer: Single, engine: LayerEngine, threads: int = 1) -> LayerTime:
    """What a layer takes within a network: of two side by side, which are added up, the second; of more where it is lost in the rest.

    By itself a convolution pays for the call, for turning its input into the engine's layout and its output back, which in a network
    none does whose neighbours are convolutions. Lower quartiles of some passes; taken again while other programs take the core.

    Raises:
        EngineMissingError: If the engine is not installed; it says what to install.
        ValueError: If ``threads`` is no count.
    """
    check_count("layer_ms: threads", threads)
    if not layer.kernel:
        (only,), clean = _undisturbed([_runner(*_model(layer, 1), engine, threads)])
        return LayerTime(only, clean)
    runs = [_runner(*_model(layer, count), engine, threads) for count in (1, 2)]
    (one, two), clean = _undisturbed(runs)
    if two - one >= _SHARE * one:
        return LayerTime(two - one, clean)
    (one, many), clean = _undisturbed([runs[0], _runner(*_model(layer, 1 + _MANY), engine, threads)])
    return LayerTime(max(many - one, _SMALLEST * one) / _MANY, clean)


def weights_ms(megabytes: Sequence[int], engine: LayerEngine, threads: int = 1) -> list[LayerTime]:
    """What reading weights takes, so many ``megabytes`` (2^20 bytes) each: chains of linear layers of one megabyte, on some rows.

    Weights that the processor's caches do not hold come from memory in every pass. What other programs do there shows as time alone, so
    of some turns the fastest stands.

    Raises:
        EngineMissingError: If the engine is not installed; it says what to install.
        ValueError: If one of ``megabytes``, or ``threads``, is no count.
    """
    for count in megabytes:
        check_count("weights_ms: megabytes", count)
    check_count("weights_ms: threads", threads)
    runs = [_runner(*_chain(count), engine, threads) for count in megabytes]
    turns = [[_undisturbed([run]) for run in runs] for _ in range(_TURNS)]
    found: list[LayerTime] = []
    for taken in zip(*turns, strict=True):
        alone = [ms for (ms,), clean in taken if clean]
        found.append(LayerTime(min(alone or [ms for (ms,), _ in taken]), bool(alone)))
    return found


def _undisturbed(runs: Sequence[Callable[[], object]]) -> tuple[list[float], bool]:
    """Milliseconds of each, and whether they were had undisturbed; of several tries the least disturbed."""
    for run in runs:
        run()
    tries: list[tuple[float, list[float]]] = []
    for _ in range(_TRIES):
        before, start = waited(), time.perf_counter()
        taken = _quartile(runs)
        wall, after = time.perf_counter() - start, waited()
        share = 0.0 if before is None or after is None else max(0.0, after - before) / wall
        tries.append((share, taken))
        if share <= _CLEAN:
            break
    share, taken = min(tries, key=lambda tried: tried[0])
    return taken, share <= _CLEAN


def _quartile(runs: Sequence[Callable[[], object]]) -> list[float]:
    """Of each, in turn, in milliseconds."""
    taken: list[list[float]] = [[] for _ in runs]
    end = time.perf_counter() + _SECONDS * len(runs)
    while len(taken[0]) < _LEAST or time.perf_counter() < end:
        for run, times in zip(runs, taken, strict=True):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
    return [float(np.quantile(times, 0.25)) * 1e3 for times in taken]


def _runner(model: bytes, x: np.ndarray[Any, Any], engine: LayerEngine, threads: int) -> Callable[[], object]:
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


def _model(layer: Single, count: int) -> tuple[bytes, np.ndarray[Any, Any]]:
    """The layer, or the sum of ``count`` such layers of one input, with a ReLU behind it as an ONNX file, and an input."""
    _, helper, numpy_helper = need("onnx", "onnx", "onnx.helper", "onnx.numpy_helper")
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
    attributes: dict[str, Any] = {}
    if convolution:
        attributes = {"group": layer.groups, "kernel_shape": layer.kernel, "strides": layer.stride}
        attributes |= {"pads": [*layer.padding, *layer.padding], "dilations": layer.dilation}
    nodes, constants = [], []
    for one in range(count):  # each with weights of its own: equal layers would be computed once
        weight = (rng.standard_normal(size) * 0.05).astype(np.float32)
        bias = rng.standard_normal(layer.outputs).astype(np.float32)
        constants += [numpy_helper.from_array(weight, f"w{one}"), numpy_helper.from_array(bias, f"b{one}")]
        kind, given = "Conv" if convolution else "Gemm", ["x", f"w{one}", f"b{one}"]
        nodes.append(helper.make_node(kind, given, [f"h{one}"], **attributes))
    total = "h0"
    for one in range(1, count):
        nodes.append(helper.make_node("Add", [total, f"h{one}"], [f"t{one}"]))
        total = f"t{one}"
    nodes.append(helper.make_node("Relu", [total], ["y"]))
    return _file(nodes, constants, shape), rng.standard_normal(shape).astype(np.float32)


def _chain(count: int) -> tuple[bytes, np.ndarray[Any, Any]]:
    """``count`` linear layers one behind the other, with a ReLU between, as an ONNX file, and an input."""
    _, helper, numpy_helper = need("onnx", "onnx", "onnx.helper", "onnx.numpy_helper")
    rng = np.random.default_rng(0)
    nodes, constants = [], []
    for one in range(count):
        weight = (rng.standard_normal((_SIDE, _SIDE)) * (2 / _SIDE) ** 0.5).astype(np.float32)
        constants.append(numpy_helper.from_array(weight, f"w{one}"))
        given, made = f"r{one - 1}" if one else "x", "y" if one == count - 1 else f"r{one}"
        nodes.append(helper.make_node("Gemm", [given, f"w{one}"], [f"h{one}"]))
        nodes.append(helper.make_node("Relu", [f"h{one}"], [made]))
    return _file(nodes, constants, (_ROWS, _SIDE)), rng.standard_normal((_ROWS, _SIDE)).astype(np.float32)


def _file(nodes: list[Any], constants: list[Any], shape: Sequence[int]) -> bytes:
    """An ONNX file that makes y, in float32, from x of this shape."""
    onnx, helper = need("onnx", "onnx", "onnx.helper")
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    return model.SerializeToString()
