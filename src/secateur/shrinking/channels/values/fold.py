"""Constants of dead channels folded on, exactly: into the bias, the BatchNorm after it, or one channel for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateur.shrinking.channels import operations as ops
from secateur.shrinking.channels.layers import Layer, layers
from secateur.shrinking.channels.node import Node
from secateur.shrinking.channels.values.pointwise import Values
from secateur.shrinking.channels.values.shared import shared_map
from secateur.shrinking.channels.values.weighted import channel_values, kernel_sums
from secateur.shrinking.cutting import add_bias
from secateur.shrinking.names import named


@torch.no_grad()
def fold_constants(model: nn.Module, nodes: Sequence[Node], values: Values) -> list[str]:
    """Rewrites weights so that no layer reads a channel that is constant; the network computes the same.

    A constant that reaches a layer without padding moves to its bias, or to the mean of the BatchNorm that follows.
    With padding its effect differs at the border: all constants of one tensor are then carried by a single channel, and so are
    constants that other operations, such as ``F.pad``, make the same map of.

    Returns:
        Paths of the modules that were given a bias.
    """
    state = named(model)
    calls: dict[str, list[tuple[Node, Layer]]] = {}
    for node, layer in layers(nodes):
        calls.setdefault(layer.weight.target, []).append((node, layer))
    users: dict[Node, list[Node]] = {}
    for node in nodes:
        for read in node.inputs:
            users.setdefault(read, []).append(node)
    biases: list[str] = []
    for name, uses in calls.items():
        node, layer = uses[0]
        if len(users[layer.weight]) > len(uses) or len({one.input_axis for _, one in uses}) > 1:
            continue  # an embedding with the same weight, say, would change with it
        value = _agreed([channel_values(use, values) for _, use in uses])
        weight = state[name]
        _clear(weight, layer, value == 0)
        constant = ~value.isnan() & (value != 0)
        uniform = not any(use.padded for _, use in uses)
        if not uniform and layer.groups == 1:
            _merge(weight, layer, value, constant)
        elif uniform:
            shift = _sum(weight, layer, value, constant)
            if shift is not None and _shift(model, state, uses, users, shift, biases):
                _clear(weight, layer, constant)
        if layer.groups > 1:
            continue
        maps = [shared_map(use.x, use.channel, values) for _, use in uses]
        value = torch.where(value.isnan(), _agreed([each for each, _ in maps]), torch.nan)
        beyond = maps[0][1]
        constant = (value - beyond).abs() > 0
        if int(constant.sum()) < 2 or any(other != beyond for _, other in maps):
            continue
        away = value - beyond
        rest = beyond * (1 - away / away[_carrier(away, constant)])
        shift = _sum(weight, layer, rest, constant) if beyond else None
        if shift is None or (uniform and _shift(model, state, uses, users, shift, biases)):
            _merge(weight, layer, away, constant)
    return biases


def _inputs(weight: Tensor, layer: Layer) -> Tensor:
    """A view of the weight with the input channels of a group first: (inputs, ...)."""
    return weight.data.movedim(layer.input_axis, 0)


def _clear(weight: Tensor, layer: Layer, channels: Tensor) -> None:
    """Zeroes what the layer reads from ``channels``, (inputs,) over all groups."""
    if not bool(channels.any()):
        return
    if layer.transposed:
        weight.data[channels.to(weight.device)] = 0
        return
    per_group = channels.view(layer.groups, -1).to(weight.device)
    if layer.groups == 1:
        _inputs(weight, layer)[per_group[0]] = 0
        return
    blocks = weight.data.unflatten(0, (layer.groups, -1)).transpose(1, 2)  # (groups, inputs, outputs, ...)
    blocks[per_group] = 0


def _agreed(values: list[Tensor]) -> Tensor:
    """What all say; NaN where they differ."""
    same = torch.stack([value == values[0] for value in values]).all(0)
    return torch.where(same, values[0], torch.nan)


def _sum(weight: Tensor, layer: Layer, value: Tensor, chosen: Tensor) -> Tensor | None:
    """What the ``chosen`` channels add to every output, (outputs,); None where they add nothing."""
    sums, used = kernel_sums(layer, weight)
    moved = torch.where(chosen, value, 0.0).view(layer.groups, 1, -1)
    return (sums * moved).sum(-1).flatten() if bool((used & (moved != 0)).any()) else None


def _carrier(value: Tensor, constant: Tensor) -> int:
    return int(torch.where(constant, value.abs(), -1.0).argmax())


def _merge(weight: Tensor, layer: Layer, value: Tensor, constant: Tensor) -> None:
    """Lets the largest constant channel carry what all constant channels do."""
    carrier = _carrier(value, constant)
    others = constant.clone()
    others[carrier] = False
    if not bool(others.any()):
        return
    inputs = _inputs(weight, layer)
    share = (value / value[carrier])[others].to(weight.device)
    moved = (inputs[others].double() * share.view(-1, *[1] * (inputs.dim() - 1))).sum(0)
    inputs[carrier] = (inputs[carrier].double() + moved).to(weight.dtype)
    inputs[others] = 0


def _shift(
    model: nn.Module,
    state: Mapping[str, Tensor],
    uses: list[tuple[Node, Layer]],
    users: Mapping[Node, list[Node]],
    shift: Tensor,
    biases: list[str],
) -> bool:
    """Adds ``shift`` to what the layer gives; whether there was a place for it."""
    node, layer = uses[0]
    if layer.bias is not None:
        bias = state.get(layer.bias.target)
        readers = users[layer.bias]
        if bias is None or len(readers) != len(uses):
            return False
        bias.data += shift.to(bias)
        return True
    norm = users.get(node, [])
    if len(uses) == 1 and len(norm) == 1 and norm[0].op in ops.BATCH_NORMS - {"instance_norm"}:
        mean: Any = norm[0].args[3]
        if isinstance(mean, Node) and len(users[mean]) == 1:
            state[mean.target].data -= shift.to(state[mean.target])
            return True
    path = layer.weight.target.rpartition(".")[0]
    owner = dict(model.named_modules(remove_duplicate=False)).get(path)
    if any(use.owner != path for use, _ in uses):
        return False  # called by its weight: it would not see the bias
    if not isinstance(owner, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
        return False
    add_bias(owner)
    assert owner.bias is not None
    owner.bias.data += shift.to(owner.bias)
    biases.append(path)
    return True
