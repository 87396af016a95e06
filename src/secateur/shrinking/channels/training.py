"""What training runs and a forward pass in eval mode does not."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from torch import nn

from secateur.problem import Input
from secateur.shrinking.channels.node import Node, replaced
from secateur.shrinking.channels.trace import trace
from secateur.shrinking.names import first_names


@dataclass(frozen=True)
class Training:
    """What training does, as far as it may be more than a forward pass in eval mode.

    Args:
        nodes: Its trace; parameters, buffers and inputs are the nodes that they are in the trace of eval mode.
        own: Paths of the modules with weights that it alone reads.
        unreached: Weights that neither trace reads.
        failure: Why it cannot be traced; empty where it can, or need not be.
    """

    nodes: list[Node] = field(default_factory=list[Node])
    own: list[str] = field(default_factory=list[str])
    unreached: list[str] = field(default_factory=list[str])
    failure: str = ""


def training_nodes(model: nn.Module, example: Input, nodes: list[Node]) -> Training:
    """What training does, if it runs layers that ``nodes`` lack, or code of the model's asks whether it is training."""
    ends = {(node.op, node.target or node.name): node for node in nodes if node.call is None}
    ends.pop(("output", "output"), None)  # training gives what it gives
    known = first_names(model)
    weights = {known[name] for name, p in model.named_parameters() if p.dim() > 1}
    left = weights - _read(nodes)
    if not left and not _asks(model):
        return Training()
    try:
        found = trace(model, example, training=True)
    except ValueError as error:
        return Training(unreached=sorted(left), failure=str(error))
    same = {node: ends.get((node.op, node.target or node.name), node) for node in found if node.call is None}
    for node in found:
        node.args, node.kwargs = (
            replaced(node.args, lambda read: same.get(read, read)),
            replaced(node.kwargs, lambda read: same.get(read, read)),
        )
        node.written = tuple(same.get(read, read) if read else None for read in node.written)
        node.name = f"training.{node.name}" if node not in same.values() else node.name
    read = left & _read(found)
    own = sorted({name.rpartition(".")[0] for name in read})
    return Training([node for node in found if same.get(node, node) is node], own, sorted(left - read))


def _read(nodes: list[Node]) -> set[str]:
    return {read.target for node in nodes for read in node.inputs}


def _asks(model: nn.Module) -> bool:
    """Whether code of the model's that is not torch's looks at ``training``."""
    kinds = {base for module in model.modules() for base in type(module).__mro__}
    own = [kind for kind in kinds if not kind.__module__.startswith("torch.nn.") and kind is not object]
    held = [value for holder in (*own, *model.modules()) for value in vars(holder).values()]
    return any("training" in code.co_names for value in held for code in _codes(value))


def _codes(value: Any) -> Iterator[CodeType]:
    value = getattr(value, "fget", value)
    value = inspect.unwrap(value) if callable(value) else value
    waiting = [code] if isinstance(code := getattr(value, "__code__", None), CodeType) else []
    while waiting:
        yield (code := waiting.pop())
        waiting += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
