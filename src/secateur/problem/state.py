"""Random state, and the modes and buffers of modules: captured, restored and left untouched."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from secateur.problem.tensors import tensor_parts, write_back


def rng_state() -> dict[str, Any]:
    """State of every global generator (Python, NumPy, torch, each CUDA device), loadable with ``weights_only``."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (
            str(name),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Puts every global generator back to ``state`` (of :func:`rng_state`).

    Raises:
        ValueError: If it is none.
    """
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    name, keys, position, has_gauss, gauss = state["numpy"]
    if len(keys) != 624 or not 0 <= position <= 624:  # NumPy does not look, and would read beyond the end
        raise ValueError(f"the random state of NumPy has {len(keys)} numbers and stands at {position}")
    if has_gauss not in (0, 1) or not bool(((keys >= 0) & (keys < 2**32)).all()):
        raise ValueError("the random state of NumPy has numbers that are none of 32 bits")
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        for device, found in zip(
            range(torch.cuda.device_count()), state["cuda"], strict=False
        ):  # of a machine with more, or fewer
            torch.cuda.set_rng_state(found, device)


def seed_all(seed: int) -> None:
    """Seeds every global generator (Python, NumPy, torch on every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def preserved_rng() -> Generator[None]:
    """Whatever is drawn inside leaves no trace outside."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


@contextmanager
def preserved_modes(model: nn.Module) -> Generator[None]:
    """Whatever modes its modules are put into inside, each is in its own again outside: some may have been frozen by ``eval()``."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def preserved_buffers(model: nn.Module) -> Generator[None]:
    """Whatever forward passes inside write into buffers, they have outside the values of before.

    One that a pass made, or made anew in another size, such as a grid for images of that size, stays as it is, as in any forward pass.
    """
    before = {name: buffer.clone() for name, buffer in model.named_buffers(remove_duplicate=False)}
    try:
        yield
    finally:
        for name, buffer in model.named_buffers(remove_duplicate=False):
            value = before.get(name, buffer)
            if _form(value) == _form(buffer):
                write_back(buffer, value)


@contextmanager
def looking(model: nn.Module) -> Generator[None]:
    """Passes inside are looks alone: modes, random state and the values of buffers are outside what they were before."""
    with preserved_modes(model), preserved_rng(), preserved_buffers(model):
        yield


def _form(tensor: torch.Tensor) -> tuple[object, ...]:
    shape = tensor_parts(tensor)[0].shape if tensor.is_nested else tensor.shape
    return shape, tensor.dtype, tensor.layout, tensor.device
