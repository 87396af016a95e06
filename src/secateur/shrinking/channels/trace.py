"""A network as a list of operations, read off one trace."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from secateur.problem import Input, exporting, functional, lies_in, preserved_rng, untraceable
from secateur.pruning import check_plain
from secateur.shrinking.channels import operations as ops
from secateur.shrinking.channels.sizes import shape, sized
from secateur.shrinking.copying import evaluating
from secateur.shrinking.names import first_names, first_paths

_ENDS = {
    InputKind.PARAMETER: "parameter",
    InputKind.USER_INPUT: "input",
    InputKind.CONSTANT_TENSOR: "constant",
}


@dataclass(eq=False)
class Node:
    """One operation of the trace, or one of its ends.

    Args:
        name: Unique in the trace.
        op: ATen name without overload, such as ``conv2d``; ``input``, ``parameter``, ``buffer``, ``constant`` or ``output`` for
            the ends.
        call: The operation; None for the ends.
        args: Literals, and nodes where tensors go in.
        kwargs: The same by name.
        shape: Of the result; a tuple of shapes where there are several tensors.
        owner: Path of the innermost module that does it.
        source: The line of the user's code that does it.
        target: Name in the model's state, for parameters and buffers.
        flipped: Of a product: whether its weight goes in transposed.
        value: Of a constant, such as ``torch.tensor(0.5)`` in the forward pass.
        open: Whether the values of the input decide its size.
        dtype: Of the result; None where there are several tensors, or none.
    """

    name: str
    op: str
    call: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    shape: Any = ()
    owner: str = ""
    source: str = ""
    target: str = ""
    flipped: bool = False
    value: Tensor | None = None
    open: bool = False
    dtype: torch.dtype | None = None

    @property
    def inputs(self) -> list[Node]:
        """The nodes that go in, in order, each once."""
        return list(dict.fromkeys(self.reads))

    @property
    def reads(self) -> list[Node]:
        """The nodes that go in, in order."""
        return list(_nodes((self.args, self.kwargs)))

    @property
    def place(self) -> str:
        """Where it is, for messages: operation, module and line."""
        module = f" in {self.owner!r}" if self.owner else ""
        return f"{self.op}{module}{f' ({self.source})' if self.source else ''}"

    def run(self, value: Callable[[Node], Any], *, wide: bool = False) -> Any:
        """Calls the operation with ``value(node)`` in the place of each node; with ``wide``, floating types are float64."""
        assert self.call is not None
        args, kwargs = replaced(self.args, value), replaced(self.kwargs, value)
        if wide:
            args, kwargs = pytree.tree_map_only(torch.dtype, _wide, (args, kwargs))
        return self.call(*args, **kwargs)

    def argument(self, index: int, name: str, default: Any = None) -> Any:
        """The argument at ``index``, or called ``name``."""
        return self.args[index] if len(self.args) > index else self.kwargs.get(name, default)


def trace(model: nn.Module, example: Input, *, training: bool = False) -> list[Node]:
    """The operations of one forward pass in eval mode, each after what it reads; the model is left as it was.

    Args:
        model: A plain module (``fit`` has returned).
        example: What it takes, with a batch dimension.
        training: Whether modules with others in them, or with code of the user's, are in training mode.

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
    copied = {n: n.args[0] for n in nodes if n.op in ops.COPIES and [r.op for r in n.reads] == ["parameter"]}
    for node in nodes:
        if node.op in ops.CONVOLUTIONS or node.op in ops.WEIGHT_OF_PRODUCT:
            node.args, node.kwargs = replaced((node.args, node.kwargs), lambda one: copied.get(one, one))
    read = {other for node in nodes for other in node.inputs}
    return [node for node in nodes if node not in copied or node in read]


def moved_by(node: Node, value: Callable[[Node], Any]) -> Any:
    """As :meth:`Node.run`, for tensors of any strides."""
    if node.op in ("view", "_unsafe_view"):
        return value(node.args[0]).reshape(node.shape)
    return node.run(value)


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
            new = Node("output", "output", args=(given[-own:] + given[:-own],))  # written buffers come last
        elif isinstance(known.get(node), (int, float)):
            made[node] = known[node]
            continue
        else:
            args, kwargs = (replaced(part, made.__getitem__) for part in (node.args, dict(node.kwargs)))
            sizes = shape(known.get(node, node.meta.get("val")))
            new = Node(node.name, ops.name(node.target), node.target, args, kwargs, sizes, owner, source)
            new.open = node in known
        new.dtype = getattr(node.meta.get("val"), "dtype", None)
        made[node] = new
        yield new


def _origin(node: fx.Node) -> tuple[str, str]:
    stack = cast(dict[str, Any], node.meta.get("nn_module_stack") or {})
    owner = _own(next((str(path) for path, _ in reversed(stack.values())), ""))
    frames = re.findall(r'File "([^"]+)", line (\d+)[^\n]*\n\s*([^\n]*)', node.meta.get("stack_trace") or "")
    own = [f for f in frames if not lies_in(f[0], "torch") and f[0] != __file__] or frames
    return owner, f"{own[-1][0]}:{own[-1][1]}: {own[-1][2].strip()}" if own else ""


def _wide(kind: torch.dtype) -> torch.dtype:
    return torch.float64 if kind.is_floating_point else kind


def _nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, dict):
        for item in cast(dict[str, Any], value).values():
            yield from _nodes(item)
    elif isinstance(value, (tuple, list)):
        for item in cast(list[Any], value):
            yield from _nodes(item)


def replaced(value: Any, replace: Callable[[Any], Any]) -> Any:
    """Arguments with ``replace(node)`` in the place of each node in them."""
    if isinstance(value, (Node, fx.Node)):
        return replace(value)
    if isinstance(value, dict):
        return {key: replaced(item, replace) for key, item in cast(dict[str, Any], value).items()}
    if isinstance(value, tuple):
        return tuple(replaced(item, replace) for item in cast(tuple[Any, ...], value))
    if isinstance(value, list):
        return [replaced(item, replace) for item in cast(list[Any], value)]
    return value
