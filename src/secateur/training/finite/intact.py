"""A step that spoils a network is taken back, where it costs nothing to see it before: on a processor."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from secateur.storage import copied_state, extra_keepers, hand_back
from secateur.training.finite.buffers import Buffers

_DEAR = 5e-4  # seconds of this thread, of which a step should not notice anything


class Intact:
    """Weights of before a step whose losses, gradients or buffers are bad, and the rest as the last good step left it.

    Weights are copied at such a step alone, or at the beginning of one with a closure, within which they may move. Forward passes write
    buffers before anybody sees what they make of them, so these are copied after each step, see :class:`Buffers`. So is what
    ``get_extra_state`` gives, where a module has it, and it is had quickly.

    Args:
        model: Its tensors lie in the host's memory.
        beside: What is trained beside it.
    """

    def __init__(self, model: nn.Module, beside: Iterable[Tensor] = ()) -> None:
        self._model, self._beside = model, list(beside)
        self._weights, self._suspect = list[tuple[Tensor, Tensor]](), False
        self._buffers = Buffers(model)
        self._extra = [_Extra(name, module) for name, module in extra_keepers(model).items()]
        self.lost: list[str] = []
        """What was not put back, by names."""

    @torch.no_grad()
    def keep(self) -> None:
        """Copies the weights: the step that begins may move them before anybody sees that it spoils them."""
        self._weights = [(p, p.detach().clone()) for p in [*self._model.parameters(), *self._beside]]

    def hold(self) -> None:
        """The step that follows may spoil the weights; they are copied, if those of its beginning are not kept."""
        self._suspect = True
        if not self._weights:
            self.keep()

    @property
    def held(self) -> bool:
        """Whether this step may have spoilt the weights; those of before it are there."""
        return self._suspect

    @torch.no_grad()
    def suspects(self) -> dict[str, Tensor]:
        """Buffers that are not finite now, and may have been then."""
        return self._buffers.suspects()

    @torch.no_grad()
    def go_on(self) -> None:
        """The network as it is now is good."""
        self._weights, self._suspect = [], False
        self._buffers.go_on()
        for extra in self._extra:
            extra.keep()

    @torch.no_grad()
    def put_back(self) -> None:
        """Leaves all as it was before the step, but what is :attr:`lost`."""
        for weight, copy in self._weights:
            weight.copy_(copy)
        self.lost = self._buffers.put_back()
        self.lost += [extra.name for extra in self._extra if not extra.put_back()]
        self._weights, self._suspect = [], False


class _Extra:
    """What a module keeps by ``get_extra_state``, if it gives that, it can be copied, and that is had quickly."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self._module, self._state = name, module, list[Any]()
        self._asks, self._dear = True, 0
        self.keep()

    def keep(self) -> None:
        """Copies it; not again where that fails, or is dear two times running (once may be anything)."""
        if not self._asks:
            return
        began = time.thread_time()
        try:
            self._state = [copied_state(self._module.get_extra_state())]
        except Exception:  # what a user's code and copying raise is of every kind
            self._asks = False
        self._dear = self._dear + 1 if time.thread_time() - began > _DEAR else 0
        self._asks = self._asks and self._dear < 2
        if not self._asks:
            self._state = []

    def put_back(self) -> bool:
        """Hands it back; whether the module took it."""
        try:
            for state in self._state:
                hand_back(self._module, state)
        except Exception:  # as above
            return False
        return bool(self._state)
