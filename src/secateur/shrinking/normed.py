"""Constants that a normalisation makes something else of in training than in eval mode."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from secateur.shrinking.channels import Channels, Node, constant_values, fixed_values, layers, operations
from secateur.shrinking.channels.compressed import rows
from secateur.shrinking.channels.values.weighted import channel_values
from secateur.shrinking.names import named

_SAME = 1e-4  # of the larger of the two: running statistics come near, and never there


def normed(model: nn.Module, channels: Channels, keep: Tensor) -> dict[str, int]:
    """Path of each such normalisation to how many channels are gone that are read, and are another constant in training.

    By running statistics a constant is what they make of it, and that is what is folded on; by those of the batch it is its own mean,
    and the bias is left. Where running statistics have seen it for long, that is the same.

    Args:
        model: The original.
        channels: Its labels.
        keep: Which of them are left, (labels,).
    """
    norms = [node for node in channels.nodes if _by_running(node)]
    if not norms:
        return {}
    state = named(model)
    fixed, _ = fixed_values(channels.nodes, state)
    own = constant_values(channels.nodes, state, fixed)
    with _by_batch(norms):
        trained = constant_values(channels.nodes, state, fixed)
    other = torch.zeros(max(1, channels.count), dtype=torch.bool)
    for _, layer in layers(channels.nodes):
        labels = channels.axes.get((layer.weight.target, layer.input_axis))
        if labels is None or layer.groups > 1:
            continue
        read = state[layer.weight.target].detach().movedim(layer.input_axis, 0).flatten(1).any(1).cpu()
        one, two = channel_values(layer, own), channel_values(layer, trained)
        if layer.padded and _alike(one, two):
            continue
        apart = (one - two).abs() > _SAME * torch.maximum(one.abs(), two.abs())  # not where one is unknown
        other[labels[read & apart & (labels >= 0)]] = True
    found: dict[str, int] = {}
    for node in norms:
        labels = rows(channels.labels[node.name][0], 1)[:, 0]
        gone = (labels >= 0) & ~keep[labels.clamp(min=0)] & other[labels.clamp(min=0)]
        if bool(gone.any()):
            found[node.owner] = found.get(node.owner, 0) + int(gone.sum())
    return found


def _alike(one: Tensor, two: Tensor) -> bool:
    """Whether one channel that carries all constants, as padding needs it, carries them in training too."""
    ratios = (two / one)[~one.isnan() & ~two.isnan() & (one != 0)]
    return not ratios.numel() or bool(
        ratios.max() - ratios.min() <= _SAME * ratios.abs().max().clamp(min=1.0)
    )


def _by_running(node: Node) -> bool:
    """Whether it normalises by statistics that it holds."""
    held = node.op in operations.BATCH_NORMS and all(isinstance(one, Node) for one in node.args[3:5])
    return held and (node.op == "_native_batch_norm_legit_no_training" or not node.args[5])


@contextmanager
def _by_batch(norms: Sequence[Node]) -> Generator[None]:
    """In which these normalise by what they are given."""
    before = [node.args for node in norms]
    for node in norms:
        node.args = (*node.args[:3], None, None, *node.args[5:])
    try:
        yield
    finally:
        for node, args in zip(norms, before, strict=True):
            node.args = args
