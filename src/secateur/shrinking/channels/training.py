"""What training runs and a forward pass in eval mode does not."""

from __future__ import annotations

from torch import nn

from secateur.problem import Input
from secateur.shrinking.channels.trace import Node, replaced, trace
from secateur.shrinking.names import first_names


def training_nodes(model: nn.Module, example: Input, nodes: list[Node]) -> tuple[list[Node], list[str]]:
    """What training does, if it runs layers that ``nodes`` lack; and the paths of those.

    Parameters, buffers and inputs are the nodes that they are in ``nodes``. Empty where nothing more is run, or where
    training cannot be traced.
    """
    ends = {(node.op, node.target or node.name): node for node in nodes if node.call is None}
    known = first_names(model)
    weights = {known[name] for name, p in model.named_parameters() if p.dim() > 1}
    left = weights - {read.target for node in nodes for read in node.inputs}
    if not left:
        return [], []
    try:
        found = trace(model, example, training=True)
    except ValueError:
        return [], []
    same = {node: ends.get((node.op, node.target or node.name), node) for node in found if node.call is None}
    for node in found:
        node.args, node.kwargs = (
            replaced(node.args, lambda read: same.get(read, read)),
            replaced(node.kwargs, lambda read: same.get(read, read)),
        )
        node.name = f"training.{node.name}" if node not in same.values() else node.name
    own = sorted({node.target.rpartition(".")[0] for node in found if node.target in left})
    return [node for node in found if same.get(node, node) is node], own
