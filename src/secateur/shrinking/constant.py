"""What stands in the place of a layer that gives nothing but constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Constant(nn.Module):
    """Stands for a layer whose output does not depend on its input.

    Args:
        channels: Length of the constant.
        kernel: ``(size, stride, padding, dilation)`` for each spatial axis; empty for a linear layer.
    """

    def __init__(self, channels: int, kernel: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(channels))
        self.kernel = [tuple(axis) for axis in kernel]

    def forward(self, x: Tensor) -> Tensor:
        """(N, anything, ...) -> (N, channels, ...), as large as the layer's output was."""
        if not self.kernel:
            return self.value.to(x.dtype).expand(*x.shape[:-1], -1).contiguous()
        space = [
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, (kernel, stride, padding, dilation) in zip(x.shape[2:], self.kernel, strict=True)
        ]
        value = self.value.to(x.dtype).view(1, -1, *[1] * len(space))
        return value.expand(x.shape[0], -1, *space).contiguous()  # the next layer may work in place


def replace(model: nn.Module, path: str, new: nn.Module) -> None:
    """Makes ``new`` of the module at ``path``, in place, so by all its names; frozen, and of the type, as the weight there was."""
    old: Any = model.get_submodule(path)
    weight = getattr(old, "weight", None)
    if isinstance(weight, Tensor):
        new.to(weight).requires_grad_(weight.requires_grad)
    new.train(old.training)
    old.__class__ = type(new)
    vars(old).clear()
    vars(old).update(vars(new))
