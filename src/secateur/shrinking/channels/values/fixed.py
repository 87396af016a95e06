"""Values in a trace that depend on no input and no weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from secateur.shrinking.channels.node import Node
from secateur.shrinking.channels.operations import CHECKS, CREATIONS


def fixed_values(nodes: Sequence[Node], state: Mapping[str, Tensor]) -> tuple[dict[Node, Tensor], set[Node]]:
    """The nodes whose value depends on buffers and literals alone, with that value; and those without buffers."""
    fixed: dict[Node, Tensor] = {}
    free: set[Node] = set()
    for node in nodes:
        if node.op == "buffer" and node.target in state:
            fixed[node] = state[node.target].detach().cpu()
        elif node.value is not None:
            fixed[node] = node.value
            free.add(node)
        elif node.call is None or node.op == "getitem" or node.op in CHECKS or _random(node):
            continue
        elif node.op in CREATIONS or (node.inputs and all(read in fixed for read in node.inputs)):
            with torch.no_grad():
                value = node.run(
                    lambda read: fixed.get(read, torch.zeros(())) if read in fixed else _empty(read)
                )
            if isinstance(value, Tensor):
                fixed[node] = value
                if node.op in CREATIONS or all(read in free for read in node.inputs):
                    free.add(node)
    return fixed, free


@torch.no_grad()
def widened(nodes: Sequence[Node], fixed: Mapping[Node, Tensor]) -> dict[Node, Tensor]:
    """The same values as they are where the network runs in float64; whole numbers stay what they are."""
    wide: dict[Node, Tensor] = {}
    for node in nodes:
        if node not in fixed:
            continue
        value = fixed[node]
        if value.is_floating_point():
            value = value.double()
            if node.call is not None:
                found = node.run(
                    lambda read: wide[read] if read in wide else _empty(read).double(), wide=True
                )
                value = found.double() if found.shape == value.shape else value
        wide[node] = value
    return wide


def _random(node: Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.call, "tags", ())


def _empty(node: Node) -> Tensor:
    return torch.zeros(()).expand(node.shape)
