"""Writes ONNX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from secateur.deployment.engines import KEY, need, quiet
from secateur.deployment.export.tracing import Traced
from secateur.deployment.sparse import Weights, rewrite


def require() -> None:
    """Asks for onnx, onnxscript and onnxruntime.

    Raises:
        EngineMissingError: If one is not installed.
    """
    need("onnx", "onnx", "onnxscript", "onnxruntime")


def write(traced: Traced, path: Path, about: str, weights: Weights = "dense") -> None:
    """One file with the weights inside, sparse ones as ``weights`` says; the metadata stand in ``metadata_props`` under ``secateur``."""
    network = traced.network
    with quiet():
        program: Any = torch.onnx.export(
            traced.program,
            (),
            dynamo=True,
            optimize=True,
            verbose=False,
            input_names=list(network.inputs),
            output_names=list(network.tasks),
        )
        model = program.model
        _rename(model.graph, {symbol: name for name, symbol in traced.symbols.items()})
        for node in model.graph:
            node.metadata_props.clear()  # names and lines of this trace, of no use to an engine
        rewrite(model, weights)
        model.metadata_props[KEY] = about
        program.save(path, external_data=False)


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Axes that vary are called ``batch`` or ``height``, not ``s52``."""
    if not names:
        return
    symbols = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")
    (ir,) = need("onnx", "onnx_ir")
    for value in _values(graph):
        shape: list[Any] = list(value.shape or ())
        for axis, size in enumerate(shape):
            if not isinstance(size, int) and size.value is not None:
                renamed = symbols.sub(lambda match: names[match.group()], str(size.value))
                shape[axis] = ir.SymbolicDim(renamed)
        if value.shape is not None:
            value.shape = ir.Shape(
                shape
            )  # anew: the shape of a stack or a split is shared and cannot be changed


def _values(graph: Any) -> Iterator[Any]:
    seen: set[int] = set()
    for value in (*graph.inputs, *(v for node in graph for v in node.outputs)):
        if id(value) not in seen:
            seen.add(id(value))
            yield value
