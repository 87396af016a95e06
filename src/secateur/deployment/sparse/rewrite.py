"""Weights of an ONNX graph rebuilt from gaps and values by standard operators, which engines fold away when they load it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from secateur.deployment.engines import need
from secateur.deployment.sparse.gaps import Array, encode, room

Weights = Literal["sparse", "sparse_float16", "dense"]
OPSET = 11  # the first whose ScatterElements and CumSum say what is needed here
_WORTH = 1024  # bytes that a weight must save: five operators and their constants take about 600
_KINDS = (
    "FLOAT",
    "DOUBLE",
    "FLOAT16",
    "BFLOAT16",
    "INT8",
    "UINT8",
)  # of which weights are, quantised ones too
_FLOAT16 = 2.0**-14, 65504.0  # below, digits go, and in the end all is zero; beyond is infinity
_PARTS = (
    "gaps", "values", "steps", "axis", "positions", "elements", "zeros", "rounded", "flat", "shape", "rebuilt",
)  # fmt: skip


@dataclass(frozen=True)
class Rebuilt:
    """One weight that is stored as gaps and values.

    Args:
        name: Of the initializer.
        elements: All of them, zeros included.
        nonzeros: How many are not zero.
        dense: Bytes before.
        stored: Bytes now.
    """

    name: str
    elements: int
    nonzeros: int
    dense: int
    stored: int


def rewrite(model: Any, weights: Weights) -> list[Rebuilt]:
    """Replaces each initializer of ``model`` that gains by it with the operators that rebuild it: exactly, but for the sign of zeros.

    Cast and CumSum turn gaps into positions, ScatterElements puts the values there into zeros, Reshape gives the shape.
    With ``sparse_float16`` values are rounded to float16, but for those of a weight with one beyond 65504, or with none
    of at least 2⁻¹⁴.

    Args:
        model: An ``onnx_ir.Model`` of opset 11 or later; changed in place.
        weights: How to store; ``dense`` changes nothing.

    Returns:
        What was replaced, in the order of the file.
    """
    if weights == "dense":
        return []
    (ir,) = need("onnx", "onnx_ir")
    found: list[Rebuilt] = []
    taken = _names(model)
    parts = {f"{own}.{part}" for own, *_ in _stored(model) for part in ("gaps", "values")}
    for graph in graphs(model):
        given = {id(value) for value in graph.inputs}  # may be replaced by the caller: no constants
        for value in list(graph.initializers.values()):
            weight = (
                None
                if id(value) in given or value.name in parts or value.const_value is None
                else _array(value.const_value)
            )
            if weight is None:
                continue
            half = weights == "sparse_float16" and _fits_float16(weight)
            if room(weight, 2 if half else None) + _WORTH < weight.nbytes:
                found.append(_rebuild(ir, graph, value, weight, half, taken))
    return found


def rebuilt(model: Any) -> list[Rebuilt]:
    """What :func:`rewrite` has replaced in a file before."""
    return [
        Rebuilt(
            value.name,
            elements,
            int(np.count_nonzero(values)),
            elements * int(value.dtype.itemsize if value.dtype is not None else values.itemsize),
            gaps.nbytes + values.nbytes,
        )
        for _, value, elements, gaps, values in _stored(model)
    ]


def exact(model: Any) -> list[str]:
    """Names of weights that :func:`rewrite` has replaced in a file before, and that ``sparse_float16`` would have rounded."""
    return [value.name for _, value, _, _, values in _stored(model) if _fits_float16(values)]


def _stored(model: Any) -> Iterator[tuple[str, Any, int, Array, Array]]:
    """Each weight that is rebuilt: what its parts are called by, the value, how many elements, gaps and values."""
    for graph in graphs(model):
        for node in graph:
            own = (node.name or "").removesuffix(".rebuilt")
            parts = [graph.initializers.get(f"{own}.{part}") for part in ("gaps", "values", "shape")]
            if (
                node.op_type == "Reshape"
                and own != node.name
                and all(part is not None and part.const_value is not None for part in parts)
            ):
                gaps, values, shape = (part.const_value.numpy() for part in parts)
                yield own, node.outputs[0], int(np.prod(shape)), gaps, values


def graphs(model: Any) -> Iterator[Any]:
    """The graph, and those in its conditionals and loops."""
    yield model.graph
    for node in model.graph.all_nodes():
        for attribute in node.attributes.values():
            if attribute.type.name == "GRAPH":
                yield attribute.value
            elif attribute.type.name == "GRAPHS":
                yield from attribute.value


def _names(model: Any) -> set[str]:
    """What every value and node of the file is called, branches included: a branch sees the names around it."""
    found: set[str] = set()
    for graph in graphs(model):
        found.update(graph.initializers, (value.name for value in graph.inputs))
        for node in graph:
            found.update(name for name in (node.name, *(value.name for value in node.outputs)) if name)
    return found


def _free(name: str, taken: set[str]) -> str:
    """``name``, or it and a number, such that nothing in the file is called so, or so and a part after a dot."""
    number, made = 0, name
    while any(f"{made}.{part}" in taken for part in _PARTS):
        number += 1
        made = f"{name}.{number}"
    taken.update(f"{made}.{part}" for part in _PARTS)
    return made


def _array(tensor: Any) -> Array | None:
    return tensor.numpy() if tensor.dtype.name in _KINDS and tensor.size else None


def _fits_float16(weight: Array) -> bool:
    if weight.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        return False
    finite = weight[np.isfinite(weight)]
    largest = float(np.abs(finite).max(initial=0.0))
    return largest == 0 or _FLOAT16[0] <= largest <= _FLOAT16[1]


def _rebuild(ir: Any, graph: Any, value: Any, weight: Array, half: bool, taken: set[str]) -> Rebuilt:
    """Five operators and their constants in the place of one initializer."""
    name, dtype = value.name, value.const_value.dtype
    own = _free(name, taken)
    gaps, values = encode(weight)
    values = values.astype(np.float16) + np.float16(0) if half else values  # what rounds to -0 becomes 0
    nodes: list[Any] = []

    def constant(part: str, tensor: Any) -> Any:
        made = ir.Value(
            name=f"{own}.{part}", type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor
        )
        graph.initializers[made.name] = made
        return made

    def apply(operator: str, part: str, *inputs: Any, **attributes: Any) -> Any:
        nodes.append(ir.node(operator, inputs, attributes, name=f"{own}.{part}"))
        nodes[-1].outputs[0].name = f"{own}.{part}"
        return nodes[-1].outputs[0]

    gap = constant("gaps", ir.tensor(gaps))
    update = constant("values", ir.tensor(values) if half else ir.Tensor(values, dtype=dtype))
    number = apply("Cast", "steps", gap, to=ir.DataType.INT32)
    position = apply("CumSum", "positions", number, constant("axis", ir.tensor(np.array(0, np.int64))))
    size = constant("elements", ir.tensor(np.array([weight.size], np.int64)))
    zero = ir.Tensor(np.zeros(1, weight.dtype), dtype=dtype)
    zeros = apply("ConstantOfShape", "zeros", size, value=zero)
    update = apply("Cast", "rounded", update, to=dtype) if half else update
    flat = apply("ScatterElements", "flat", zeros, position, update, axis=0)
    shape = constant("shape", ir.tensor(np.array(weight.shape, np.int64)))
    result = apply("Reshape", "rebuilt", flat, shape)
    result.type, result.shape = ir.TensorType(dtype), ir.Shape(weight.shape)
    ir.convenience.replace_all_uses_with(value, result, replace_graph_outputs=True)
    del graph.initializers[name]
    result.name = name
    if len(graph):
        graph.insert_before(graph[0], nodes)
    else:
        graph.extend(nodes)
    return Rebuilt(
        name, weight.size, int(np.count_nonzero(weight)), weight.nbytes, gaps.nbytes + values.nbytes
    )
