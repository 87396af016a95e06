"""One operation of a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree


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
        written: Of the output: the buffers that the last of what it reads is written to.
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
    written: tuple[Node | None, ...] = ()

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


def moved_by(node: Node, value: Callable[[Node], Any]) -> Any:
    """As :meth:`Node.run`, for tensors of any strides."""
    if node.op in ("view", "_unsafe_view"):
        return value(node.args[0]).reshape(node.shape)
    return node.run(value)


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
