"""Sizes in a trace, also those that the values of the input decide, such as how many places a mask picks out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from secateur.problem import Input

_SYMBOLS = (torch.SymInt, torch.SymFloat, torch.SymBool)


def sized(program: ExportedProgram, graph: fx.Graph, example: Input) -> dict[fx.Node, Any]:
    """The nodes of which shapes alone do not say the size, or the number that they are, with their value in the example.

    Where the trace has wrong shapes, as of the states of an LSTM in torch 2.11, those of the example take their place.

    Args:
        program: The trace.
        graph: Its graph, or one of the same ends.
        example: What the network was traced with.
    """
    if not any(_open(node.meta.get("val")) or _wrong(node) for node in graph.nodes):
        return {}
    run = _Run(fx.GraphModule(torch.nn.Module(), graph))
    run.run(*_given(program, example))
    return run.found


def shape(value: Any) -> Any:
    """Of what a node gives; a tuple of shapes where there are several tensors."""
    if isinstance(value, Tensor):
        return tuple(int(size) for size in value.shape)
    if isinstance(value, (tuple, list)):
        parts = cast("list[Any]", value)
        return tuple(tuple(int(s) for s in v.shape) if isinstance(v, Tensor) else () for v in parts)
    return ()


class _Run(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.found: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if _open(n.meta.get("val")):
            self.found[n] = value
        elif shape(value) != shape(n.meta.get("val")):
            n.meta["val"] = value
        return value


def _wrong(node: fx.Node) -> bool:
    """Whether an LSTM gives states of other shapes than those that it takes."""
    if getattr(node.target, "__name__", "") != "lstm.input":
        return False
    given = tuple(shape(state.meta.get("val")) for state in cast("list[fx.Node]", node.args[1]))
    return shape(node.meta.get("val"))[1:] != given


def _open(value: Any) -> bool:
    """Whether a number, or a size of a tensor, is a symbol."""
    if isinstance(value, Tensor):
        return any(isinstance(size, torch.SymInt) for size in value.shape)
    if isinstance(value, (tuple, list)):
        return any(map(_open, cast("list[Any]", value)))
    return isinstance(value, _SYMBOLS)


def _given(program: ExportedProgram, example: Input) -> Iterator[Any]:
    """What goes into the graph, in its order."""
    leaves = iter(pytree.tree_leaves((example,)))
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            yield next(leaves)
        else:
            held = {**program.constants, **program.state_dict}
            yield held[spec.target or ""]
