"""Multiply-accumulates of layers that no module does."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_CALLS = {functional.linear, torch.conv1d, torch.conv2d, torch.conv3d}


class ByWeight(TorchFunctionMode):
    """Counts layers that are called by their weight, as in ``linear(x, self.qkv.weight)``, and not as modules."""

    def __init__(self, model: nn.Module, counts: dict[str, int]) -> None:
        super().__init__()
        self.names = {id(p): name for name, p in model.named_parameters()}
        self.counts, self.inside = counts, 0

    def enter(self, *_: Any) -> None:
        """A hook before a module that is counted itself."""
        self.inside += 1

    def leave(self, *_: Any) -> None:
        """The hook after it."""
        self.inside -= 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in _CALLS and not self.inside:
            weight = args[1] if len(args) > 1 else (kwargs or {})["weight"]
            if (name := self.names.get(id(weight), "")) in self.counts:
                self.counts[name] += weight.numel() * (found.numel() // weight.shape[0])
        return found
