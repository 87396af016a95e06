"""A network as a list of operations, read off one trace."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from secateur.problem import Input, lies_in, preserved_rng, untraceable
from secateur.pruning import check_plain
from secateur.shrinking.names import first_names

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
        value: Of a constant, such as ``torch.tensor(0.5)`` in the forward pass.
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
    value: Tensor | None = None

    @property
    def inputs(self) -> list[Node]:
        """The nodes that go in, in order, each once."""
        return list(dict.fromkeys(_nodes((self.args, self.kwargs))))

    @property
    def place(self) -> str:
        """Where it is, for messages: operation, module and line."""
        module = f" in {self.owner!r}" if self.owner else ""
        return f"{self.op}{module}{f' ({self.source})' if self.source else ''}"

    def run(self, value: Callable[[Node], Any]) -> Any:
        """Calls the operation with ``value(node)`` in the place of each node."""
        assert self.call is not None
        return self.call(*_replaced(self.args, value), **_replaced(self.kwargs, value))

    def argument(self, index: int, name: str, default: Any = None) -> Any:
        """The argument at ``index``, or called ``name``."""
        return self.args[index] if len(self.args) > index else self.kwargs.get(name, default)


def trace(model: nn.Module, example: Input) -> list[Node]:
    """The operations of one forward pass in eval mode, each after what it reads; the model is left as it was.

    Args:
        model: A plain module (``fit`` has returned).
        example: What it takes, with a batch dimension.

    Raises:
        ValueError: If the model cannot be traced; the message names the line that stands in the way.
    """
    check_plain(model, "compact")
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), preserved_rng():
            program = torch.export.export(model, (example,)).run_decompositions({})
    except Exception as error:  # torch.export raises many kinds of errors, most of them private
        raise ValueError(untraceable(error)) from error
    finally:
        for module, training in modes.items():
            module.training = training
    return list(_read(program, first_names(model)))


def moved_by(node: Node, value: Callable[[Node], Any]) -> Any:
    """As :meth:`Node.run`, for tensors of any strides."""
    if node.op in ("view", "_unsafe_view"):
        return value(node.args[0]).reshape(node.shape)
    return node.run(value)


def _read(program: ExportedProgram, names: Mapping[str, str]) -> Iterator[Node]:
    made: dict[fx.Node, Node] = {}
    ends: dict[str, Node] = {}  # a tensor of the model's with several names is one node
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    for node in program.graph.nodes:
        owner, source = _origin(node)
        if node.op == "placeholder":
            spec = specs[node.name]
            kind = _ENDS.get(spec.kind, "buffer")
            target = names.get(spec.target or "", spec.target or "")
            new = Node(node.name, kind, shape=_shape(node), target=target)
            if kind == "constant":
                new.value, new.target = cast(Tensor, program.constants[new.target]).detach().cpu(), ""
            elif kind != "input":
                made[node] = ends.setdefault(target, new)
                if made[node] is not new:
                    continue
        elif node.op == "output":
            new = Node("output", "output", args=_replaced(node.args, made.__getitem__))
        else:
            args, kwargs = (
                _replaced(node.args, made.__getitem__),
                _replaced(dict(node.kwargs), made.__getitem__),
            )
            new = Node(node.name, _op(node.target), node.target, args, kwargs, _shape(node), owner, source)
        made[node] = new
        yield new


def _op(target: Any) -> str:
    if target is operator.getitem:
        return "getitem"
    packet = getattr(target, "overloadpacket", None)
    return str(getattr(packet, "__name__", getattr(target, "__name__", target))).rstrip("_")


def _shape(node: fx.Node) -> Any:
    value = node.meta.get("val")
    if isinstance(value, Tensor):
        return tuple(int(size) for size in value.shape)
    if isinstance(value, (tuple, list)):
        return tuple(tuple(int(s) for s in v.shape) if isinstance(v, Tensor) else () for v in value)
    return ()


def _origin(node: fx.Node) -> tuple[str, str]:
    stack = cast(dict[str, Any], node.meta.get("nn_module_stack") or {})
    owner = next((str(path) for path, _ in reversed(stack.values())), "")
    frames = re.findall(r'File "([^"]+)", line (\d+)[^\n]*\n\s*([^\n]*)', node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if not lies_in(frame[0], "torch")] or frames
    return owner, f"{own[-1][0]}:{own[-1][1]}: {own[-1][2].strip()}" if own else ""


def _nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, dict):
        for item in cast(dict[str, Any], value).values():
            yield from _nodes(item)
    elif isinstance(value, (tuple, list)):
        for item in cast(list[Any], value):
            yield from _nodes(item)


def _replaced(value: Any, replace: Callable[[Any], Any]) -> Any:
    if isinstance(value, (Node, fx.Node)):
        return replace(value)
    if isinstance(value, dict):
        return {key: _replaced(item, replace) for key, item in cast(dict[str, Any], value).items()}
    if isinstance(value, tuple):
        return tuple(_replaced(item, replace) for item in cast(tuple[Any, ...], value))
    if isinstance(value, list):
        return [_replaced(item, replace) for item in cast(list[Any], value)]
    return value
