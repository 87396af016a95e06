"""Recurrent layers: one unit is the same row of every gate, in all layers and both directions, as torch has one size for all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels.compressed import along, rows, spread
from secateur.shrinking.channels.labelling import PINNED, Labelling
from secateur.shrinking.channels.needs import Needs, any_but
from secateur.shrinking.channels.node import Node


@dataclass(frozen=True)
class Cell:
    """One direction of one layer.

    Args:
        inputs: Weight on what goes in, (gates x units, inputs).
        states: Weight on the state, (gates x units, units).
        biases: None, or two of (gates x units,).
        row: Of the states that the operation takes and gives, (rows, batch, units).
    """

    inputs: Node
    states: Node
    biases: list[Node]
    row: int


def recurrent_rule(flow: Labelling, node: Node) -> Any:
    """Units go together with their gates; what goes in meets the weights of the first layer."""
    last = len(node.args[0].shape) - 1
    channels = along(flow.read(node.args[0]), last)
    layers = _cells(node)
    if channels is None or not layers:
        return flow.unknown(node, "its channels are along several axes, or it projects its state")
    channels = torch.where(channels < 0, PINNED, channels)
    units = flow.axis(layers[0][0].states, 1)
    for layer in layers:
        for cell in layer:
            flow.union.join(channels, flow.axis(cell.inputs, 1))
            flow.union.join(units, flow.axis(cell.states, 1))
            for gates in (
                flow.axis(cell.inputs, 0),
                flow.axis(cell.states, 0),
                *map(flow.read, cell.biases),
            ):
                flow.union.join(gates.view(-1, units.numel()), units)
        channels = units.repeat(len(layer))
    for state in _states(node):
        flow.union.join(flow.read(state), units)
    ends = [units] * (len(node.shape) - 1)
    return [
        spread(flow.union.find(part), len(shape) - 1, shape)
        for part, shape in zip([channels, *ends], node.shape, strict=True)
    ]


def recurrent_needs(needs: Needs, node: Node, live: list[Tensor]) -> None:
    """A unit is needed by an output, by a layer above, or by a unit of its own layer that is."""
    layers, last = _cells(node), len(node.args[0].shape) - 1
    if not layers:
        return needs.all_of(node)
    size = layers[0][0].states.shape[1]
    found = torch.zeros(sum(map(len, layers)), size, dtype=torch.bool)  # (rows, units)
    for part in live[1:]:
        found |= part.any(1)
    above = any_but(live[0], len(live[0].shape) - 1)  # of the last layer, both directions one after the other
    for layer in reversed(layers):
        below = torch.zeros(layer[0].inputs.shape[1], dtype=torch.bool)
        for place, cell in enumerate(layer):
            need = found[cell.row] | above.view(len(layer), -1)[place]
            reads = _used(needs, cell.states, size)
            while bool((more := reads[need].any(0) & ~need).any()):
                need = need | more
            found[cell.row] = need
            below |= _used(needs, cell.inputs, size)[need].any(0)
        above = below
    zero = (rows(needs.values[node.args[0]], last) == 0).all(1)  # adds nothing, whatever its weights
    needs.add(node.args[0], spread(above & ~zero, last, node.args[0].shape))
    for state in _states(node):
        needs.add(state, found[:, None].expand(state.shape))
    needs.add(node, found[:, None].expand(node.shape[1]), 1)  # of units that no output shows
    return None


def _used(needs: Needs, weight: Node, size: int) -> Tensor:
    """Of each unit and what it reads, whether any gate has a weight for it, (units, read)."""
    return (needs.state[weight.target].detach().cpu() != 0).unflatten(0, (-1, size)).any(0)


def _states(node: Node) -> Iterator[Node]:
    given = node.args[1]
    yield from given if isinstance(given, (list, tuple)) else [given]


def _cells(node: Node) -> list[list[Cell]]:
    """All layers, the first first, each with its directions; empty where the state is projected or a weight computed."""
    weights, biased, count, both = (node.args[i] for i in (2, 3, 4, 7))
    if not isinstance(weights, (list, tuple)):
        return []  # sequences of several lengths
    directions, each = 1 + bool(both), 4 if biased else 2
    if len(weights) != count * directions * each or any(w.op != "parameter" for w in weights):
        return []
    parts = [weights[i : i + each] for i in range(0, len(weights), each)]
    cells = [Cell(w[0], w[1], list(w[2:]), row) for row, w in enumerate(parts)]
    return [cells[i : i + directions] for i in range(0, len(cells), directions)]
