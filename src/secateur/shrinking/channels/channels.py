"""Channels: every channel of every axis of a network has a label, and what lives and dies together shares it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from secateur.problem import Input
from secateur.shrinking.channels.compressed import along, compress, varying
from secateur.shrinking.channels.labelling import PINNED, Labelling
from secateur.shrinking.channels.layers import layers
from secateur.shrinking.channels.node import Node
from secateur.shrinking.channels.rules import label
from secateur.shrinking.channels.stacked import stacks
from secateur.shrinking.channels.trace import trace
from secateur.shrinking.channels.values import fixed_values
from secateur.shrinking.names import named


@dataclass(frozen=True)
class Channels:
    """Which channels of a network belong together, over all its parameters and buffers.

    Args:
        nodes: The trace it was read from.
        labels: Node name to the label of each of its elements; tensors of the node's shape, repeated axes stored once.
        axes: (parameter or buffer, axis) to the label of each index along that axis, (size,); -1 is never removed.
        count: Number of labels, 0 to count - 1.
        free: Names of the nodes that are new tensors of given values, as large as what they meet.
        pins: What is never removed and why: reason to the number of channels of layers that it pinned.
    """

    nodes: list[Node]
    labels: dict[str, list[Tensor]]
    axes: dict[tuple[str, int], Tensor]
    count: int
    free: frozenset[str]
    pins: Mapping[str, int]

    def parameters_of(self, label: int) -> dict[tuple[str, int], list[int]]:
        """Where the channels of ``label`` are: (parameter, axis) to indices."""
        found = {key: (ids == label).nonzero().flatten().tolist() for key, ids in self.axes.items()}
        return {key: indices for key, indices in found.items() if indices}


def find_channels(
    model: nn.Module,
    example: Input | Sequence[Node],
    pinned: Mapping[str, str] | None = None,
    training: Sequence[Node] = (),
    *,
    thinned: Collection[str] = (),
) -> Channels:
    """Reads the channels of ``model`` off one trace; the model is left as it was.

    Convolutions (grouped, depthwise, transposed), linear and recurrent layers, normalisations, pointwise operations with
    broadcasting, concatenation, splits, reshapes, pooling, interpolation, pixel shuffle and attention are followed;
    channels that pass through anything else are pinned, and so are the network's inputs and outputs. A group of a
    grouped convolution (see ``thinned``) or of GroupNorm, and an attention head, is one channel.
    So is a unit of all experts whose weights are one parameter. A layer that gets nothing from the example stays as it is.

    Args:
        model: A plain module.
        example: What it takes, or its trace.
        pinned: Name of a node to the reason why its channels stay as they are.
        training: The trace of what training does, whose own layers are cut like what goes into them.
        thinned: Weights of convolutions in groups of which not whole groups go, but the same channels of every group.

    Raises:
        ValueError: If the model cannot be traced.
    """
    nodes = list(example) if isinstance(example, Sequence) else trace(model, example)
    state = named(model)
    flow = Labelling(*fixed_values([*nodes, *training], state))
    flow.thinned = thinned
    flow.stacks, passing = stacks([*nodes, *training])
    seen = {read.target for node in nodes for read in node.inputs}
    for count, node in enumerate([*nodes, *training]):
        flow.training = count >= len(nodes)
        if node.op != "output" and any(read in flow.lost for read in node.inputs):
            flow.lost.add(node)
        elif node.op != "parameter" and node.op != "buffer" and node not in passing:
            flow.of[node] = label(flow, node)
    for node, layer in layers(training):
        if layer.weight.target not in seen and isinstance(labels := flow.of.get(node), Tensor):
            flow.pin(labels, f"{layer.weight.target} is of a layer that training alone runs")
    for node in nodes:
        if pinned and node.name in pinned and node in flow.of:
            value = flow.of[node]
            for labels in value if isinstance(value, list) else [value]:
                flow.pin(labels, pinned[node.name])
    flow.settle()
    return _collected(nodes, flow, state)


def removed_sizes(channels: Channels, keep: Tensor) -> set[int]:
    """How many channels there were, of whatever has fewer now; ``keep`` says which labels are left, (labels,)."""
    found: set[int] = set()
    for node in channels.nodes:
        for labels in channels.labels.get(node.name, []) if node.call is not None else []:
            small = compress(labels)
            if bool(((small >= 0) & ~keep[small.clamp(min=0)]).any()):
                found |= {small.shape[axis] for axis in varying(small)} or set(small.shape)
    return found


def _collected(nodes: list[Node], flow: Labelling, state: Mapping[str, Tensor]) -> Channels:
    axes = {key: flow.union.find(ids) for key, ids in flow.axes.items()}
    for name, elements in flow.elements.items():
        axes |= _element_axes(flow, name, elements)
    axes = {key: flow.union.find(ids) for key, ids in axes.items()}
    used = torch.unique(torch.cat([torch.tensor([PINNED]), *axes.values()]))
    used = used[used > PINNED]
    number = torch.full((int(used.max()) + 1 if used.numel() else 1,), -1)
    number[used] = torch.arange(used.numel())

    def renumbered(ids: Tensor) -> Tensor:
        return torch.where(
            (ids > PINNED) & (ids < number.numel()), number[ids.clamp(0, number.numel() - 1)], -1
        )

    labels: dict[str, list[Tensor]] = {}
    for node in nodes:
        if node in flow.of and node.op != "output":
            value = flow.of[node]
            found = [flow.union.find(v) for v in (value if isinstance(value, list) else [value])]
            labels[node.name] = [renumbered(v) for v in found]
    pins: dict[str, int] = {}
    for number_of, reason in flow.pins:
        pins[reason] = pins.get(reason, 0) + number_of
    free = frozenset(node.name for node in flow.free)
    numbers = {key: renumbered(ids) for key, ids in axes.items()}
    return Channels(nodes, labels, numbers, used.numel(), free, pins)


def _element_axes(flow: Labelling, name: str, elements: Tensor) -> dict[tuple[str, int], Tensor]:
    """The axis along which the labels of a parameter used element by element change."""
    found = flow.union.find(elements)
    axes = varying(found)
    if len(axes) > 1:
        if name not in flow.late:  # what training alone does is looked at where it runs
            flow.pin(found, f"parameter {name!r}: its channels are along several axes")
        return {}
    if not axes:
        return {(name, a): found.flatten() for a in range(found.dim()) if found.numel() == 1}
    vector = along(found, axes[0])
    assert vector is not None
    return {(name, axes[0]): vector}
