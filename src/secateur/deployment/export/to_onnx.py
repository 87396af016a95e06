"""Writes ONNX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
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
        _free_names(model.graph)
        _rename(model.graph, {symbol: name for name, symbol in traced.symbols.items()})
        for node in model.graph:
            node.metadata_props.clear()  # names and lines of this trace, of no use to an engine
        rewrite(model, weights)
        model.metadata_props[KEY] = about
        program.save(path, external_data=False)


def _free_names(graph: Any) -> None:
    """Inner values give up the names of inputs and outputs: a task may be called as an operation is, or a weight."""
    own = {id(value) for value in (*graph.inputs, *graph.outputs)}
    taken = {value.name for value in (*graph.inputs, *graph.outputs)}
    inner = [value for value in _values(graph) if id(value) not in own]
    used = taken | {value.name for value in inner} | set(graph.initializers)
    for value in (*inner, *list(graph.initializers.values())):
        if value.name not in taken or id(value) in own:
            continue
        name = next(name for i in count(1) if (name := f"{value.name}_{i}") not in used)
        used.add(name)
        held = graph.initializers.pop(value.name, None) if value in graph.initializers.values() else None
        value.name = name
        if held is not None:
            graph.register_initializer(value)


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
