"""A network as a list of operations, read off one trace."""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from secateur.problem import Input, exporting, functional, lies_in, preserved_rng, untraceable
from secateur.pruning import check_plain
from secateur.shrinking.channels import operations as ops
from secateur.shrinking.channels.node import Node, replaced
from secateur.shrinking.channels.sizes import shape, sized
from secateur.shrinking.copying import evaluating
from secateur.shrinking.names import first_names, first_paths

_ENDS = {
    InputKind.PARAMETER: "parameter",
    InputKind.USER_INPUT: "input",
    InputKind.CONSTANT_TENSOR: "constant",
}


def trace(model: nn.Module, example: Input, *, training: bool = False) -> list[Node]:
    """The operations of one forward pass in eval mode, each after what it reads; the model is left as it was.

    Args:
        model: A plain module (``fit`` has returned).
        example: What it takes, with a batch dimension.
        training: As :func:`evaluating` has it.

    Raises:
        ValueError: If the model cannot be traced; the message names the line that stands in the way.
    """
    check_plain(model, "compact")
    inner = evaluating(model, training=training)
    try:
        with torch.no_grad(), preserved_rng(), _quiet(), exporting():
            program = torch.export.export(_Inside(inner), (example,))
            if (graph := functional(program.graph)) is None or not ops.plain(graph):
                program = program.run_decompositions(ops.decomposed(program.graph))
                graph = program.graph
            known = sized(program, graph, example)
    except Exception as error:  # torch.export raises many kinds of errors, most of them private
        raise ValueError(untraceable(error)) from error
    return unflipped(uncast(list(_read(program, graph, inner, known))))


@contextmanager
def _quiet() -> Generator[None]:
    """Nothing is compiled, and nothing is said of activations that modules keep: the traced copy is thrown away."""
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The tensor attribute", UserWarning)
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # torch 2.11, of itself
        yield


class _Inside(nn.Module):
    """Around a network, so that its parameters may have names that torch.export uses for itself, such as ``code``."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        return self.inner(x)


def _own(path: str) -> str:
    """A path or name in the network, of one in :class:`_Inside`."""
    return path.partition(".")[2]


def unflipped(nodes: list[Node]) -> list[Node]:
    """The same, where a product with the transpose of a parameter takes the parameter."""
    for node in nodes:
        place = ops.WEIGHT_OF_PRODUCT.get(node.op)
        weight = None if place is None else node.args[place]
        if place is not None and weight is not None and weight.op in ("t", "transpose", "permute", "numpy_T"):
            parameter, two = weight.args[0], len(weight.shape) == 2
            if parameter.op == "parameter" and two and weight.shape == parameter.shape[::-1]:
                node.args = (*node.args[:place], parameter, *node.args[place + 1 :])
                node.flipped = True
    read = {other for node in nodes for other in node.inputs}
    return [node for node in nodes if node.op not in ("t", "transpose", "permute", "numpy_T") or node in read]


def uncast(nodes: list[Node]) -> list[Node]:
    """The same, where a layer with a copy of a parameter, or with one of another type (autocast), takes the parameter."""
    copied: dict[Node, Node] = {}
    for node in nodes:
        if node.op in ops.COPIES and len(node.reads) == 1:
            source = copied.get(node.reads[0], node.reads[0])  # of a copy of a copy, too
            if source.op == "parameter":
                copied[node] = source
        if node.op in ops.CONVOLUTIONS or node.op in ops.WEIGHT_OF_PRODUCT:
            node.args, node.kwargs = replaced((node.args, node.kwargs), lambda one: copied.get(one, one))
    read: set[Node] = set()
    nodes = [node for node in nodes if node.op not in ops.CHECKS or copied.keys().isdisjoint(node.reads)]
    for node in reversed(nodes):
        if node not in copied or node in read:
            read.update(node.inputs)
    return [node for node in nodes if node not in copied or node in read]


def _read(
    program: ExportedProgram, graph: fx.Graph, model: nn.Module, known: dict[fx.Node, Any]
) -> Iterator[Node]:
    names, owners = first_names(model), first_paths(model)
    made: dict[fx.Node, Any] = {}  # nodes, and numbers
    ends: dict[str, Node] = {}  # a tensor of the model's with several names is one node
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    for node in graph.nodes:
        owner, source = _origin(node)
        owner = owners.get(owner, owner)
        if node.op == "placeholder":
            spec = specs[node.name]
            kind = _ENDS.get(spec.kind, "buffer")
            target = _own(spec.target or "")
            target = names.get(target, target)
            new = Node(node.name, kind, shape=shape(node.meta.get("val")), target=target)
            if kind == "constant":
                new.value, new.target = cast(Tensor, program.constants[spec.target or ""]).detach().cpu(), ""
            elif kind != "input":
                made[node] = ends.setdefault(target, new)
                if made[node] is not new:
                    continue
        elif node.op == "output":
            given, own = replaced(node.args[0], made.__getitem__), len(program.graph_signature.user_outputs)
            written = [spec.target for spec in program.graph_signature.output_specs][:-own]
            new = Node("output", "output", args=(given[-own:] + given[:-own],))  # written buffers come last
            new.written = tuple(ends.get(names.get(_own(target or ""), "")) for target in written)
        elif isinstance(known.get(node), (int, float)):
            made[node] = known[node]
            continue
        else:
            args, kwargs = (replaced(part, made.__getitem__) for part in (node.args, dict(node.kwargs)))
            sizes = shape(known.get(node, node.meta.get("val")))
            new = Node(node.name, ops.name(node.target), node.target, args, kwargs, sizes, owner, source)
            new.open = node in known
        new.dtype = getattr(node.meta.get("val"), "dtype", None)
        if new.dtype is not None and new.dtype.is_complex and new.op in ops.WITH_WEIGHTS:
            new.op = f"complex {new.op}"  # followed by no rule
        made[node] = new
        yield new


def _origin(node: fx.Node) -> tuple[str, str]:
    stack = cast(dict[str, Any], node.meta.get("nn_module_stack") or {})
    owner = _own(next((str(path) for path, _ in reversed(stack.values())), ""))
    frames = re.findall(r'File "([^"]+)", line (\d+)[^\n]*\n\s*([^\n]*)', node.meta.get("stack_trace") or "")
    own = [f for f in frames if not lies_in(f[0], "torch") and f[0] != __file__] or frames
    return owner, f"{own[-1][0]}:{own[-1][1]}: {own[-1][2].strip()}" if own else ""
