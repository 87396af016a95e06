"""A step that spoils a network is taken back, where it costs nothing to see it before: on a processor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from secateur.storage import copied_state, hand_back, restore

_SMALL = 65_536  # elements; a copy of them takes microseconds


class Intact:
    """Weights of before a step whose losses, gradients or buffers are bad, and the rest as the last good step left it.

    Weights are copied at such a step alone. Forward passes write buffers before anybody sees what they make of them, so these are
    copied after each step: small ones always, because torch does not count what its normalisations write; large ones if it
    has counted a write. So is what ``get_extra_state`` gives, where a module has it.

    Args:
        model: Its tensors lie in the host's memory.
        beside: What is trained beside it.
    """

    def __init__(self, model: nn.Module, beside: Iterable[Tensor] = ()) -> None:
        self._model, self._beside = model, list(beside)
        self._weights: list[tuple[Tensor, Tensor]] = []
        self._copies: dict[str, _Copy | None] = {}
        self._extra: list[tuple[nn.Module, Any]] = []
        self.go_on()

    def __contains__(self, name: str) -> bool:
        """Whether there was such a buffer after the last good step."""
        return self._copies.get(name) is not None

    @torch.no_grad()
    def hold(self) -> None:
        """Copies the weights: the step that follows may spoil them."""
        self._weights = [(p, p.detach().clone()) for p in [*self._model.parameters(), *self._beside]]

    @property
    def held(self) -> bool:
        """Whether the weights of before this step are there."""
        return bool(self._weights)

    def written(self) -> dict[str, Tensor]:
        """Buffers that may have been written since the last good step."""
        found = ((name, buffer, self._copies.get(name)) for name, _, _, buffer in self._buffers())
        return {n: b for n, b, copy in found if b is not None and (copy is None or copy.is_old(b))}

    @torch.no_grad()
    def go_on(self) -> None:
        """The network as it is now is good."""
        self._weights, before, self._copies = [], self._copies, {}
        for name, _, _, buffer in self._buffers():
            copy = before.get(name)
            if buffer is not None and copy is not None:
                copy.renew(buffer)
            self._copies[name] = copy if copy and buffer is not None else _Copy.of(buffer)
        self._extra = [pair for module in self._model.modules() for pair in _extra(module)]

    @torch.no_grad()
    def put_back(self) -> None:
        """Leaves all as it was before the step."""
        for weight, copy in self._weights:
            weight.copy_(copy)
        for name, module, own, buffer in list(self._buffers()):
            if name not in self._copies:
                delattr(module, own)
            elif (copy := self._copies[name]) is None:
                setattr(module, own, None)
            else:
                setattr(module, own, copy.back(buffer))
        for module, state in self._extra:
            hand_back(module, state)
        self._weights = []

    def _buffers(self) -> Iterator[tuple[str, nn.Module, str, Tensor | None]]:
        """Name, module, the name there, and the buffer, if it is set."""
        for prefix, module in self._model.named_modules():
            for own, buffer in module._buffers.items():  # pyright: ignore[reportPrivateUsage]
                yield f"{prefix}.{own}" if prefix else own, module, own, buffer


class _Copy:
    """Of one buffer."""

    def __init__(self, buffer: Tensor) -> None:
        self._of, self._writes, self._value = buffer, _writes(buffer), buffer.detach().clone()

    @classmethod
    def of(cls, buffer: Tensor | None) -> _Copy | None:
        """None of what is not set."""
        return None if buffer is None else cls(buffer)

    def is_old(self, buffer: Tensor) -> bool:
        """Whether it may have been written since."""
        return buffer.numel() <= _SMALL or buffer is not self._of or _writes(buffer) != self._writes

    def renew(self, buffer: Tensor) -> None:
        """Takes its value, if it may have been written since."""
        if not self.is_old(buffer):
            return
        self._of, self._writes = buffer, _writes(buffer)
        if _alike(self._value, buffer):
            self._value.copy_(buffer)
        else:
            self._value = buffer.detach().clone()

    def back(self, buffer: Tensor | None) -> Tensor:
        """The buffer with its value of before, another one where its form has changed."""
        if buffer is None or not _alike(self._value, buffer):
            return self._value.clone()
        restore({"": buffer}, {"": self._value})
        return buffer


def _extra(module: nn.Module) -> Iterator[tuple[nn.Module, Any]]:
    """What it keeps by ``get_extra_state``, if it does and that can be copied."""
    if type(module).get_extra_state is nn.Module.get_extra_state:
        return
    state = module.get_extra_state()
    try:
        yield module, copied_state(state)
    except Exception:  # what copying raises is of every kind
        return


def _writes(buffer: Tensor) -> int:
    return 0 if buffer.is_inference() else buffer._version


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype
