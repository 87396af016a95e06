"""Products with a weight that is no matrix of its own: several in one parameter (experts), or one with its axes moved (einsum)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.shrinking.channels import operations as ops
from secateur.shrinking.channels.compressed import along, full, spread, varying
from secateur.shrinking.channels.labelling import PINNED, Labelling
from secateur.shrinking.channels.layers import idle, layers, product
from secateur.shrinking.channels.needs import Needs, any_but
from secateur.shrinking.channels.node import Node, moved_by

_PASSED = ops.MOVES - {"cat", "concat", "stack", "index", "index_select"} | ops.COPIES
_ELEMENTS = 1 << 24  # of larger weights it is not asked where each element goes


@dataclass(frozen=True)
class Stack:
    """A product of activations with a moved parameter.

    Args:
        x: The activations.
        channel: Axis of ``x`` that is summed over.
        weight: The parameter.
        inside: Axes of the parameter that are summed over, the outermost first, with the index along each, (channels,).
        outside: The same of the axes that are left.
        output: Axis of the result along which they are left.
        several: Axis of the result to that of the parameter along which the weights lie for it, where there is such a one.
    """

    x: Node
    channel: int
    weight: Node
    inside: dict[int, Tensor]
    outside: dict[int, Tensor]
    output: int
    several: dict[int, int]


def stacks(nodes: Sequence[Node]) -> tuple[dict[Node, Stack], set[Node]]:
    """The products of a trace that are so, and the nodes that only move a weight to them."""
    users: dict[Node, list[Node]] = {node: [] for node in nodes}
    for node in nodes:
        for read in node.inputs:
            users[read].append(node)
    found: dict[Node, Stack] = {}
    passing: set[Node] = set()
    for weight in nodes:
        if weight.op != "parameter" or len(weight.shape) < 2:
            continue
        moved, waiting = [weight], [weight]
        while waiting:
            more = [user for user in users[waiting.pop()] if user.op in _PASSED and len(user.inputs) == 1]
            moved += more
            waiting += more
        ends = {user: node for node in moved for user in users[node] if user not in moved}
        made = {end: _stack(end, node, weight) for end, node in ends.items()}
        good = {end: one for end, one in made.items() if one is not None}
        if good and len(good) == len(made):
            found |= good
            passing.update(moved[1:])
    return found, passing


def layer_weights(nodes: Sequence[Node]) -> set[str]:
    """Names of the parameters that activations are multiplied with or looked up in: not those used element by element."""
    found = [layer.weight for _, layer in layers(nodes)] + [
        stack.weight for stack in stacks(nodes)[0].values()
    ]
    for node in nodes:
        if node.op == "embedding":
            found.append(node.args[0])
        elif node.op in ops.UNROLLED:
            found += [read for read in node.inputs if len(read.shape) > 1]
    return {weight.target for weight in found if weight.op == "parameter"}


def stack_rule(flow: Labelling, node: Node, stack: Stack) -> Tensor:
    """As of a linear layer; of weight axes that are one axis there, such as heads and their channels, the outer go whole."""
    inside, outside = (_labels(flow, node, stack.weight, axes) for axes in (stack.inside, stack.outside))
    x = flow.read(stack.x)
    channels = along(x, stack.channel)
    lead = len(node.shape) - x.dim()
    apart = [axis + lead for axis in varying(x) if axis < x.dim() - 2]
    if len(apart) == 1 and apart[0] in stack.several:  # each head has a weight of its own
        for labels in (inside, outside):
            flow.pin(labels, f"{node.place}: goes with what is outside it")
        heads = flow.axis(stack.weight, stack.several[apart[0]])
        flow.union.join(x, spread(heads, apart[0] - lead, x.shape))
        return spread(flow.union.find(heads), apart[0], node.shape)
    for axis in range(len(stack.weight.shape)):
        if axis not in stack.inside and axis not in stack.outside:
            flow.pin(flow.axis(stack.weight, axis), f"{node.place}: one of several weights")
    if channels is None:
        for labels in (x, inside, outside):
            flow.pin(labels, f"{node.place}: its channels are along several axes")
        return full(PINNED, node.shape, torch.int64)
    flow.union.join(torch.where(channels < 0, PINNED, channels), inside)
    return spread(flow.union.find(outside), stack.output, node.shape)


def grouped_needs(needs: Needs, node: Node, live: list[Tensor]) -> None:
    """Of rows that are each multiplied with one of several weights: an input that no weight reads is not needed."""
    used = (needs.values[node.args[1]] != 0) & any_but(live[0], 1)  # (weights, inputs, outputs)
    needs.add(node.args[0], spread(used.any(2).any(0), 1, node.args[0].shape))
    for read in node.inputs[1:]:
        needs.add(read, full(True, read.shape, torch.bool))


def _stack(node: Node, moved: Node, weight: Node) -> Stack | None:
    """The product that ``node`` is with ``moved``; None if it is another or none."""
    grouped = node.op in ops.GROUPED
    if idle(node) or (not grouped and (node.op not in ops.WEIGHT_OF_PRODUCT or node.op == "addmm")):
        return None
    if node.reads.count(moved) != 1 or len(node.args) < 2 or weight.op != "parameter":
        return None
    first = node.args[0] is moved
    if (first and (grouped or node.op == "linear")) or (not first and node.args[1] is not moved):
        return None
    if not grouped and (layer := product(node)) is not None and layer.weight.op == "parameter":
        return None
    x: Node = node.args[1] if first else node.args[0]
    if (
        min(len(x.shape), len(moved.shape), len(node.shape)) < 2
        or torch.Size(weight.shape).numel() > _ELEMENTS
    ):
        return None
    lead = len(moved.shape) - 2
    inner, outer = (lead + 1, lead) if first or node.op == "linear" else (lead, lead + 1)
    axes = _axes(moved, weight)
    if axes is None or (node.op == "linear" and len(node.inputs) > 2):
        return None
    batch = {} if grouped else {len(node.shape) - 2 - lead + axis: axes[axis] for axis in range(lead)}
    several = {
        axis: next(iter(one))
        for axis, one in batch.items()
        if len(one) == 1
        and all(len(w) == weight.shape[a] and bool((w == torch.arange(len(w))).all()) for a, w in one.items())
    }
    return Stack(
        x,
        len(x.shape) - (2 if first else 1),
        weight,
        axes[inner],
        axes[outer],
        len(node.shape) - (2 if first else 1),
        several,
    )


def _axes(moved: Node, weight: Node) -> list[dict[int, Tensor]] | None:
    """Which axes of the weight each axis of ``moved`` runs along, and where; None where two run along one."""

    def places(node: Node) -> Tensor:
        if node is weight:
            return torch.arange(torch.Size(weight.shape).numel()).view(weight.shape)
        return moved_by(node, places) if node.op in ops.MOVES else places(node.args[0])

    found = places(moved)
    total, axes = found[(0,) * found.dim()], list[dict[int, Tensor]]()
    for axis, size in enumerate(found.shape):
        line = found[(*[0] * axis, slice(None), *[0] * (found.dim() - axis - 1))]
        where = torch.unravel_index(line, weight.shape)
        axes.append({a: w for a, w in enumerate(where) if size > 1 and bool((w != w[0]).any())})
        total = total + (line - line[0]).view(-1, *[1] * (found.dim() - axis - 1))
    several = [a for one in axes for a in one]
    return axes if len(set(several)) == len(several) and bool((total == found).all()) else None


def _labels(flow: Labelling, node: Node, weight: Node, axes: dict[int, Tensor]) -> Tensor:
    """A label for each index along what was made one axis, (channels,)."""
    for axis in list(axes)[1:]:
        flow.pin(flow.axis(weight, axis), f"{node.place}: goes with what is outside it")
    if not axes:
        return torch.tensor([PINNED])
    first = min(axes)
    return flow.axis(weight, first)[axes[first]]
