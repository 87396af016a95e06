"""Whether an engine rebuilds from a file the weights that were taken apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from secateur.deployment.engines import need, quiet
from secateur.deployment.sparse.rewrite import graphs
from secateur.storage import short

_UNREAD = "BFLOAT16"  # NumPy has none, and ONNX Runtime hands none out


def check_rebuilt(model: Any, path: Path) -> None:
    """Lets ONNX Runtime rebuild each weight that was taken apart from the file at ``path`` alone, and compares it with that of ``model``.

    Args:
        model: The ``onnx_ir.Model`` as it was.
        path: The file with gaps and values.

    Raises:
        ValueError: If one is not the same bit by bit, or, where values were rounded to float16, not as rounding makes it.
    """
    ir, runtime = need("onnx", "onnx_ir", "onnxruntime")
    with quiet():
        written = ir.load(path)
    for old, graph in zip(graphs(model), graphs(written), strict=True):
        for result in [value for node in graph for value in node.outputs if value.name in old.initializers]:
            if result.dtype.name == _UNREAD:
                continue
            alone = ir.Model(ir.convenience.extract(graph, [], [result]), ir_version=written.ir_version)
            alone.graph.opset_imports.update(written.opset_imports)
            ir.external_data.load_to_model(alone)  # what is handed over as bytes has no files beside it
            session = _session(runtime, ir.to_proto(alone).SerializeToString())
            (found,), expected = session.run(None, {}), old.initializers[result.name].const_value.numpy()
            if _rounded(result):
                expected = expected.astype(np.float16).astype(expected.dtype)
            expected = np.where(expected == 0, np.zeros_like(expected), expected)  # of both signs
            if found.tobytes() != expected.tobytes():
                raise ValueError(
                    f"pack: ONNX Runtime {runtime.__version__} rebuilds {result.name} with other values; no file was written. "
                    "Report this, with the file."
                )


def check_loads(before: Path, after: Path) -> None:
    """Raises ValueError if ONNX Runtime loads the file ``before`` and not ``after``; one with operators of others it loads neither."""
    (runtime,) = need("onnx", "onnxruntime")
    try:
        _session(runtime, str(after), folded=False)
    except Exception as error:  # ONNX Runtime raises of every kind
        try:
            _session(runtime, str(before), folded=False)
        except Exception:  # nor does it run what was there
            return
        raise ValueError(
            f"pack: ONNX Runtime {runtime.__version__} loads {before} and not what was made of it ({short(error)}); no file was "
            "written. Report this, with the file."
        ) from error


def _session(runtime: Any, source: str | bytes, folded: bool = True) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what it cannot do it also raises
    if not folded:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _rounded(result: Any) -> bool:
    """Whether values are cast before they are put in their places."""
    return result.producer().inputs[0].producer().inputs[2].producer() is not None
