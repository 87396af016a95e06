"""A step that spoils a network is taken back, where it costs nothing to see it before: on a processor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_SMALL = 65_536  # elements; a copy of them takes microseconds


class Intact:
    """Weights of before a step whose gradients are bad, and buffers as the last good step left them.

    Weights are copied at such a step alone. Forward passes write buffers before anybody sees what they make of them, so these are
    copied after each step: small ones always, because torch does not count what its normalisations write; large ones if it
    has counted a write.

    Args:
        model: Its tensors lie in the host's memory.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._weights: list[tuple[Tensor, Tensor]] = []
        self._copies: dict[tuple[nn.Module, str], _Copy] = {}
        for module in model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                self._copies[module, name] = _Copy(buffer)

    @torch.no_grad()
    def hold(self) -> None:
        """Copies the weights: the step that follows may spoil them."""
        self._weights = [(p, p.detach().clone()) for p in self._model.parameters()]

    @property
    def held(self) -> bool:
        """Whether the weights of before this step are there."""
        return bool(self._weights)

    @torch.no_grad()
    def go_on(self) -> None:
        """The network as it is now is good."""
        self._weights = []
        for (module, name), copy in self._copies.items():
            if isinstance(buffer := getattr(module, name, None), Tensor):
                copy.renew(buffer)

    @torch.no_grad()
    def put_back(self) -> None:
        """Leaves weights and buffers as they were before the step."""
        for weight, copy in self._weights:
            weight.copy_(copy)
        for (module, name), copy in self._copies.items():
            if isinstance(buffer := getattr(module, name, None), Tensor):
                setattr(module, name, copy.back(buffer))
        self._weights = []


class _Copy:
    """Of one buffer."""

    def __init__(self, buffer: Tensor) -> None:
        self._of, self._writes, self._value = buffer, _writes(buffer), buffer.detach().clone()

    def renew(self, buffer: Tensor) -> None:
        """Takes its value, if it may have been written since."""
        if buffer.numel() > _SMALL and buffer is self._of and _writes(buffer) == self._writes:
            return
        self._of, self._writes = buffer, _writes(buffer)
        if _alike(self._value, buffer):
            self._value.copy_(buffer)
        else:
            self._value = buffer.detach().clone()

    def back(self, buffer: Tensor) -> Tensor:
        """The buffer with its value of before, another one where its form has changed."""
        return buffer.copy_(self._value) if _alike(self._value, buffer) else self._value


def _writes(buffer: Tensor) -> int:
    return 0 if buffer.is_inference() else buffer._version


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype
