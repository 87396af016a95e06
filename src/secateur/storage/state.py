"""All that a network computes with, copied and put back: parameters, buffers, and what ``get_extra_state`` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secateur.shrinking import unwrapped
from secateur.storage.extra import comes_back, extra_keepers, extra_states, hand_back
from secateur.storage.outline import is_extra
from secateur.storage.snapshot import named_tensors
from secateur.storage.values import restore


def network_state(model: nn.Module) -> dict[str, Any]:
    """A copy by plain names, as in a state dict, with the buffers that no file holds.

    What ``get_extra_state`` gives and cannot be copied, such as a lock, is not in it.
    """
    tensors = _tensors(model)
    copies = {id(value): value.detach().clone() for value in tensors.values()}  # what is tied once
    return {name: copies[id(value)] for name, value in tensors.items()} | extra_states(model)


@torch.no_grad()
def put_back(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Gives a network its state of before; ``state`` shares nothing with it and stays as it is.

    A buffer that came since stays, and one of another size that no file holds: it is made for the input. Others get their size back.

    Args:
        model: The network, with the modules that it had.
        state: Of :func:`network_state`, or a part of it.
    """
    now, lasting = _tensors(model), named_tensors(model).keys()
    found = {name: value for name, value in now.items() if name in state}
    alike = {name: value for name, value in found.items() if value.shape == state[name].shape}
    restore(alike, state)
    homes = {unwrapped(name): module for name, module in model.named_modules(remove_duplicate=False)}
    for name in found.keys() & lasting - alike.keys():
        home, _, own = name.rpartition(".")
        setattr(homes[home], own, state[name].to(found[name].device, copy=True))
    for name, module in extra_keepers(model).items():
        if name in state:
            hand_back(module, state[name])


def writable(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint can hold of a state, which is all but some of what ``get_extra_state`` gave."""
    return {name: value for name, value in state.items() if not is_extra(name) or comes_back(value)}


def lasting_state(model: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the buffers that no file holds."""
    named = named_tensors(model).keys()
    return {n: value for n, value in writable(state).items() if n in named or is_extra(n)}


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    buffers = model.named_buffers(remove_duplicate=False)
    return {unwrapped(name): buffer for name, buffer in buffers} | named_tensors(model)
