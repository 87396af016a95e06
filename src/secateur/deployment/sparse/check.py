"""Whether an engine rebuilds from a file the weights that were taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secateur.deployment.engines import need, quiet
from secateur.deployment.sparse.rewrite import Rebuilt, graphs

_UNREAD = "BFLOAT16"  # NumPy has none, and ONNX Runtime hands none out


def check_rebuilt(model: Any, path: Path, weights: Sequence[Rebuilt]) -> None:
    """Lets ONNX Runtime rebuild each of ``weights`` from the file at ``path`` alone, and compares it with that of ``model``.

    Args:
        model: The ``onnx_ir.Model`` as it was.
        path: The file with gaps and values.
        weights: What was replaced there.

    Raises:
        ValueError: If one is not the same bit by bit, or, where values were rounded to float16, not as rounding makes it.
    """
    ir, runtime = need("onnx", "onnx_ir", "onnxruntime")
    with quiet():
        written = ir.load(path)
    before = {name: value for graph in graphs(model) for name, value in graph.initializers.items()}
    names = {weight.name for weight in weights}
    for graph in graphs(written):
        for result in [value for node in graph for value in node.outputs if value.name in names]:
            if result.dtype.name == _UNREAD:
                continue
            alone = ir.Model(ir.convenience.extract(graph, [], [result]), ir_version=written.ir_version)
            alone.graph.opset_imports.update(written.opset_imports)
            options = runtime.SessionOptions()
            options.log_severity_level = 3
            session = runtime.InferenceSession(
                ir.to_proto(alone).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            (found,), expected = session.run(None, {}), before[result.name].const_value.numpy()
            if f"{result.name}.rounded" in {node.name for node in alone.graph}:
                expected = expected.astype(np.float16).astype(expected.dtype)
            expected = np.where(expected == 0, np.zeros_like(expected), expected)  # of both signs
            if found.tobytes() != expected.tobytes():
                raise ValueError(
                    f"pack: ONNX Runtime {runtime.__version__} rebuilds {result.name} with other values; no file was written. "
                    "Report this, with the file."
                )
