"""Groups of all weights that read one channel, so that every dead group can be removed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateur.problem import Input, Problem, example
from secateur.pruning import Groups, input_groups, shared_convolutions
from secateur.shrinking.channels.channels import Channels, find_channels
from secateur.shrinking.channels.layers import layers


def coupled_groups(model: nn.Module, example: Input) -> Groups:
    """One group for each channel that can be removed: what reads it, in all layers, across residuals and branches.

    A group holds the input-channel slices of every convolution and linear layer that reads the channel, and of grouped
    convolutions whole groups. Once it is zero no output depends on the channel, so the rows that produce it, and
    its BatchNorm, go too. Channels that are pinned belong to no group.

    Args:
        model: A plain module.
        example: What it takes.

    Raises:
        ValueError: If the model cannot be traced, or has no channel that can be removed.
    """
    channels = find_channels(model, example, cautious=True)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    axis: dict[str, int] = {}
    index: dict[str, Tensor] = {}
    rows: dict[str, Tensor] = {}
    for _, layer in layers(channels.nodes):
        name = layer.weight.target
        if name in axis or name not in trainable:
            continue
        whole = layer.groups > 1 or layer.transposed
        axis[name] = 0 if whole else layer.input_axis
        index[name] = _of(channels, name, axis[name], layer.weight.shape)
        if axis[name] == 1:
            rows[name] = _of(channels, name, 0, layer.weight.shape)
    return _numbered(axis, index, rows)


def default_groups(problem: Problem) -> Groups:
    """The input channels of the convolutions that several tasks share; where there is none, :func:`coupled_groups`."""
    if shared_convolutions(problem):
        return input_groups(problem)
    return coupled_groups(problem.network, example(problem))


def _of(channels: Channels, name: str, axis: int, shape: tuple[int, ...]) -> Tensor:
    return channels.axes.get((name, axis), torch.full((shape[axis],), -1))


def _numbered(axis: dict[str, int], index: dict[str, Tensor], rows: dict[str, Tensor]) -> Groups:
    """Groups from labels: only what some layer reads counts."""
    used = torch.unique(torch.cat([*index.values(), torch.tensor([-1])]))
    used = used[used >= 0]
    if not used.numel():
        raise ValueError("The model has no channel that can be removed; all are inputs, outputs or pinned.")
    largest = max(int(ids.max()) for ids in [*index.values(), *rows.values()] if ids.numel())
    number = torch.full((largest + 2,), -1)  # the last place is for labels of -1
    number[used] = torch.arange(used.numel())
    return Groups(
        used.numel(),
        axis,
        {name: number[ids] for name, ids in index.items()},
        {name: number[ids] for name, ids in rows.items()},
    )
