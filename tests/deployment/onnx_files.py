"""ONNX files as anyone writes them, with sparse weights; import it where onnx and onnxruntime are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(0)


def sparse(*shape: int, kind: Any = np.float32, density: float = 0.1) -> np.ndarray:
    """Random values, about ``density`` of them not zero; half of the zeros are negative, as masks leave them."""
    values = RNG.integers(-100, 100, shape) if np.issubdtype(kind, np.integer) else RNG.standard_normal(shape)
    return (values * (RNG.random(shape) < density)).astype(kind)


def written(
    path: Path,
    nodes: list[Any],
    weights: dict[str, np.ndarray],
    *,
    opset: int = 17,
    width: int = 64,
    **more: Any,
) -> Path:
    """A file with input ``x`` (n, width) and output ``y``."""
    kind = more.pop("kind", TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "anyone",
        [helper.make_tensor_value_info("x", kind, ["n", width]), *more.pop("inputs", [])],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path, **more)
    return path


def run(path: Path, x: np.ndarray, **more: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x, **more})[0]


def matmul(path: Path, **options: Any) -> Path:
    return written(path, [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": sparse(64, 256)}, **options)


def same(path: Path, packed: Path, x: np.ndarray | None = None, **more: np.ndarray) -> None:
    x = RNG.standard_normal((3, 64)).astype(np.float32) if x is None else x
    assert np.array_equal(run(path, x, **more), run(packed, x, **more))
