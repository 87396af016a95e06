"""What each layer of an exported network takes, as the engine's own profiler counts it. Imports no engine and not torch."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from secateur.deployment.engines.engine import Array, Precision, load_engine, need, quiet
from secateur.deployment.engines.run_onnxruntime import options
from secateur.deployment.engines.run_openvino import settings
from secateur.deployment.engines.signal_stack import kept_signal_stack

PROFILED = ("onnxruntime", "openvino")  # engines that count their operations
OTHER = ""  # what is no layer: activations, sums, resizing, changes of layout
_WEIGHT = re.compile(
    r"model\.(.+?)\.[^./]*(?:weight|bias)(?!\w*\.)"
)  # what export calls the weights of a network's own modules

_JOINED = {"Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "Add", "Mul", "BatchNormalization"}
_ADDED = re.compile(r"(?:_nchwc|_token_\d+)+$")  # by ONNX Runtime, to the name of a node or of what it gives


def layer_times(
    path: Path, arrays: list[Array], threads: int, precision: Precision, engine: str, passes: int
) -> dict[str, float]:
    """Milliseconds of a pass by the name of the layer's module, in the order of computation; medians over ``passes``.

    What the engine joins to a layer (its activation, a sum) counts as the layer's; all that has no weights is under ``OTHER``.
    A pass that is profiled takes a little longer than one that is not.

    Args:
        path: Of :func:`secateur.export`.
        arrays: The inputs, in the file's order.
        threads: Of a pass.
        precision: What OpenVINO computes in.
        engine: One of ``PROFILED``.
        passes: How many, after one that is left out.

    Raises:
        ValueError: If the engine counts no layers, or as :func:`load_engine`.
    """
    if engine not in PROFILED:
        raise ValueError(f"layer_times: engine is {engine!r}; {' and '.join(PROFILED)} count their layers.")
    about = load_engine(path, threads, precision).about
    feed = dict(zip(about["inputs"], arrays, strict=True))
    profile = _openvino if engine == "openvino" else _onnxruntime
    found: dict[str, list[float]] = {}
    for number, times in enumerate(profile(path, feed, threads, precision, passes + 1)):
        if number:
            for name, ms in times.items():
                found.setdefault(name, []).append(ms)
    return {name: float(np.median(values)) for name, values in found.items()}


def _openvino(
    path: Path, feed: Mapping[str, Array], threads: int, precision: Precision, passes: int
) -> Iterator[dict[str, float]]:
    (openvino,) = need("openvino", "openvino")
    with kept_signal_stack():
        core = openvino.Core()
        given = settings(threads, precision) | {"PERF_COUNT": True}
        request = core.compile_model(core.read_model(path), "CPU", given).create_infer_request()
        for _ in range(passes):
            request.infer(feed)
            yield _summed(
                (_module(counted.node_name), counted.real_time.total_seconds() * 1e3)
                for counted in request.get_profiling_info()
            )


def _onnxruntime(
    path: Path, feed: Mapping[str, Array], threads: int, precision: Precision, passes: int
) -> Iterator[dict[str, float]]:
    onnx, runtime = need("onnx", "onnx", "onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        given = options(runtime, threads)
        given.log_severity_level = 3  # that what is written below suits this machine alone
        given.enable_profiling, given.profile_file_prefix = True, str(Path(folder) / "profile")
        given.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        session = runtime.InferenceSession(path, given, providers=["CPUExecutionProvider"])
        for _ in range(passes):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        with quiet():
            graph = onnx.load(given.optimized_model_filepath).graph
            layers = _layers(onnx.load(path).graph) | _layers(graph)
    taken: list[list[tuple[str, float]]] = []
    for event in sorted(events, key=lambda event: event["ts"]):
        name = str(event["name"])
        if event.get("cat") == "Session" and name == "model_run":
            taken.append([])
        elif event.get("cat") == "Node" and name.endswith("_kernel_time") and taken:
            taken[-1].append((_of(layers, name.removesuffix("_kernel_time")), event["dur"] / 1e3))
    yield from map(_summed, taken)


def _of(layers: Mapping[str, str], node: str) -> str:
    """The layer of a node as the engine calls it: by its own name, or the one that it was made of."""
    own = _ADDED.sub("", node.split("/")[0])
    return layers.get(node) or layers.get(own) or layers.get(node.split("/")[0], OTHER)


def _layers(graph: Any) -> dict[str, str]:
    """Name of each node that reads a weight of the network, or is joined with one that reads its bias, to the module's name."""
    found: dict[str, str] = {}
    held = {one.name for one in graph.initializer}
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for value in node.input:
            users.setdefault(value, []).append(node)
    for node in graph.node:
        names = [_module(value) for value in node.input]
        if node.op_type == "MatMul" and not any(names) and held & set(node.input):  # a weight that was turned
            names = [_module(v) for user in users.get(node.output[0], []) for v in user.input]
        if name := next(filter(None, names), ""):
            found |= dict.fromkeys([node.name, *_followed(node, users)], name)
    return found


def _followed(node: Any, users: Mapping[str, list[Any]]) -> Iterator[str]:
    """What a layer gives, and what is made of it alone by operations that engines join to the layer before."""
    while True:
        yield from node.output
        after = users.get(node.output[0], [])
        if len(after) != 1 or after[0].op_type not in _JOINED:
            return
        node = after[0]


def _module(name: str) -> str:
    """``model.body.0.weight``, with whatever an engine puts behind it, to ``body.0``; nothing of what is no weight of the network."""
    found = _WEIGHT.match(name)
    return found.group(1) if found else OTHER


def _summed(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, ms in pairs:
        found[name] = found.get(name, 0.0) + ms
    return found
