"""What a user's loader draws from and counts: captured at the start of an epoch, so that the epoch can be replayed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from secateur.problem import holders

_OF_A_PROCESS = ("rank", "num_replicas")  # a user's own distributed sampler has these


def loader_state(loader: Any) -> dict[str, Any]:
    """Generators of a loader, its samplers and data sets, and counters of its samplers, by place; loadable with ``weights_only``."""
    found: dict[str, Any] = {}
    for place, holder in holders(loader):
        for name, value in vars(holder).items():
            counts = _counts(place, holder) and name not in _OF_A_PROCESS
            kept = _captured(value, counts)
            if kept is not None:
                found[f"{place}.{name}"] = kept
    return found


def restore_loader(loader: Any, state: dict[str, Any]) -> None:
    """Puts a loader back to :func:`loader_state`.

    Raises:
        ValueError: If it draws from other generators than the saved one.
    """
    if other := sorted(state.keys() ^ loader_state(loader).keys()):
        raise ValueError(f"the data are drawn otherwise: {', '.join(other[:3])} is not in both loaders")
    for place, holder in holders(loader):
        for name, value in list(vars(holder).items()):
            kept = state.get(f"{place}.{name}")
            if kept is not None:
                _restored(holder, name, value, kept)


def unrepeatable(loader: Any) -> str:
    """Why an epoch of this loader cannot be replayed bit for bit; empty where it can."""
    if any(getattr(holder, "persistent_workers", False) for _, holder in holders(loader)):
        return "its persistent workers keep random state of their own; set persistent_workers=False"
    return ""


def _counts(place: str, holder: Any) -> bool:
    """Whether numbers of this holder are counters: those of a user's own samplers and loaders, not settings of a data set."""
    own = not type(holder).__module__.startswith("torch.")
    return own and "dataset" not in place and not isinstance(holder, DataLoader)


def _captured(value: Any, counts: bool) -> dict[str, Any] | None:
    if isinstance(value, torch.Generator):
        return {"torch": value.get_state()}
    if isinstance(value, np.random.Generator):
        return {"numpy": dict(value.bit_generator.state)}
    if isinstance(value, np.random.RandomState):
        kind, keys, *rest = value.get_state(legacy=True)
        return {"legacy": (str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *map(float, rest))}
    if isinstance(value, random.Random):
        return {"python": value.getstate()}
    return {"plain": value} if counts and isinstance(value, (int, float)) else None


def _restored(holder: Any, name: str, value: Any, kept: dict[str, Any]) -> None:
    ((kind, state),) = kept.items()
    if kind == "torch":
        value.set_state(state)
    elif kind == "numpy":
        value.bit_generator.state = state
    elif kind == "legacy":
        key, keys, position, has, gauss = state
        value.set_state((key, keys.numpy().astype(np.uint32), int(position), int(has), gauss))
    elif kind == "python":
        version, internal, gauss = state
        value.setstate((version, tuple(internal), gauss))
    elif value != state:
        vars(holder)[name] = state
