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
        _floor(model.graph)
        for node in model.graph:
            node.metadata_props.clear()  # names and lines of this trace, of no use to an engine
        rewrite(model, weights)
        model.metadata_props[KEY] = about
        program.save(path, external_data=False)


def _floor(graph: Any) -> None:
    """Pools round sizes down, with as much padding at the end as makes of it torch's rounding up.

    torch has no last window that begins in the padding. Of engines that are told to round up some have one, so what they are told is
    the padding: what reaches to the end of the last stride, and no farther than a window that begins at the last place.
    """
    (ir,) = need("onnx", "onnx_ir")
    for node in graph:
        if node.op_type not in ("MaxPool", "AveragePool") or node.domain:
            continue
        told = {name: attribute.value for name, attribute in node.attributes.items()}
        size = list(told["kernel_shape"])
        ones, none = [1] * len(size), [0] * 2 * len(size)
        pads, steps, apart = told.get("pads", none), told.get("strides", ones), told.get("dilations", ones)
        counted = told.get("count_include_pad", 0) and any(pads)  # written otherwise, by `averaged`
        if not told.get("ceil_mode", 0) or counted:
            continue
        first = list(pads[: len(size)])
        last = [min(p + s - 1, d * (k - 1)) for p, s, d, k in zip(first, steps, apart, size, strict=True)]
        if any(
            pad >= k for pad, k in zip(last, size, strict=True)
        ):  # ONNX Runtime wants it in the input then
            _pad(node, last)
            last = none[: len(size)]
        node.attributes["pads"] = ir.AttrInt64s("pads", [*first, *last])
        node.attributes["ceil_mode"] = ir.AttrInt64("ceil_mode", 0)
        if node.op_type == "AveragePool":
            node.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 0)


def _pad(pool: Any, last: list[int]) -> None:
    """Puts what no maximum is beyond the input of a pool."""
    (ir,) = need("onnx", "onnx_ir")
    zeros = [0] * (2 + len(last))
    values = ir.tensor([*zeros, 0, 0, *last]), ir.tensor(float("-inf"), dtype=ir.DataType.FLOAT)
    constants = [ir.node("Constant", [], {"value": value}) for value in values]
    padded = ir.node("Pad", [pool.inputs[0], *(one.outputs[0] for one in constants)])
    pool.graph.insert_before(pool, [*constants, padded])
    pool.replace_input_with(0, padded.outputs[0])


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
