"""Runs an .xml or .onnx file with OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from secateur.deployment.engines.engine import KEY, Array, Engine, Precision, check_ends, need, parsed
from secateur.deployment.engines.foreign import described, output_names
from secateur.deployment.engines.signal_stack import kept_signal_stack


def load(
    path: Path, threads: int | None, precision: Precision, outputs: Mapping[str, str] | None = None
) -> Engine:
    """One stream that answers as soon as it can; OpenVINO's own choice of precision would be bfloat16 where it is faster."""
    (openvino,) = need("openvino", "openvino")
    with kept_signal_stack():
        core = openvino.Core()
        model = core.read_model(path)
        if outputs is None:
            place = ["framework", KEY] if path.suffix == ".onnx" else [KEY]
            about = parsed(path, model.get_rt_info(place).value if model.has_rt_info(place) else None)
            ends = (x.any_name for x in model.inputs), (name for x in model.outputs for name in x.names)
            check_ends(path, about, *ends)
        else:
            given = [names[0] for names in _ends(model.inputs) if names]
            about = described(path, given, list(chain(*_ends(model.outputs))), outputs)
        request = core.compile_model(model, "CPU", settings(threads, precision)).create_infer_request()
    names, wanted = list(about["inputs"]), output_names(about)
    alone = Lock()  # another pass, of whatever thread, writes over what this one gave

    def call(arrays: list[Array]) -> list[Array]:
        given = dict(zip(names, arrays, strict=True))
        with alone, kept_signal_stack():
            found = request.infer(given, share_inputs=True, share_outputs=True)
            return [np.array(found[task]) for task in wanted]

    return Engine("openvino", openvino.__version__, about, call)


def _ends(ports: Any) -> list[list[tuple[str, list[int | None]]]]:
    """Of each port its names, which may be several, with its shape."""
    shapes = [
        [side.get_length() if side.is_static else None for side in port.partial_shape] for port in ports
    ]
    return [[(name, shape) for name in sorted(port.names)] for port, shape in zip(ports, shapes, strict=True)]


def settings(threads: int | None, precision: Precision) -> dict[str, Any]:
    """Of a compiled network."""
    made: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    return made | ({} if threads is None else {"INFERENCE_NUM_THREADS": threads})
