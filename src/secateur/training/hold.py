"""One training at a time on a model, and what it hangs on it meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_HELD = "_held_by_pruning"  # on a parameter; copies of it do not bear it


class Hold:
    """Marks the weights that a training prunes, and keeps what is to be put back if it never begins, and taken off at its end."""

    def __init__(self) -> None:
        self._parameters: list[nn.Parameter] = []
        self._hooks: list[Any] = []
        self._initial: list[Tensor] = []

    def take(self, parameters: Iterable[nn.Parameter]) -> None:
        """Marks the parameters.

        Raises:
            RuntimeError: If another training holds one of them.
        """
        wanted = list(parameters)
        if any(hasattr(p, _HELD) for p in wanted):
            raise RuntimeError(
                "This model is being pruned already; leave the other Pruning first (or take it off: pruning.undo(), or prune.undo() of "
                "a callback), or give this one a copy of the model."
            )
        for parameter in wanted:
            setattr(parameter, _HELD, True)
        self._parameters, self._initial = wanted, [p.detach().clone() for p in wanted]

    def keep(self, hooks: Iterable[Any]) -> None:
        """Takes handles of hooks, to remove them in the end."""
        self._hooks.extend(hooks)

    def begin(self) -> None:
        """Training has begun: there is no way back to the weights before."""
        self._initial = []

    @torch.no_grad()
    def release(self) -> None:
        """Leaves nothing behind, and the weights as they were if training never began; twice does no harm."""
        for parameter, value in zip(self._parameters, self._initial, strict=False):
            parameter.copy_(value)
        for hook in self._hooks:
            hook.remove()
        for parameter in self._parameters:
            delattr(parameter, _HELD)
        self._parameters, self._hooks, self._initial = [], [], []
