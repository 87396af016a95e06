"""What is inside a user's own loader, and what it draws from and counts: so an epoch can be replayed, and looked at without a trace."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

_INSIDE = ("sampler", "batch_sampler", "dataset", "datasets", "loaders")
_OF_A_PROCESS = ("rank", "num_replicas")  # a user's own distributed sampler has these


def holders(loader: Any) -> Iterator[tuple[str, Any]]:
    """A loader, its samplers and data sets, and those in them, each with its place in words."""
    stack, seen = [("loader", loader)], set[int]()
    while stack:
        place, holder = stack.pop()
        if id(holder) in seen or not hasattr(holder, "__dict__"):
            continue
        seen.add(id(holder))
        yield place, holder
        for name in _INSIDE:
            inside = getattr(holder, name, None)
            items = enumerate(inside) if isinstance(inside, (list, tuple)) else [("", inside)]
            stack.extend((f"{place}.{name}{key}", item) for key, item in items if item is not None)


def distributed_samplers(loader: Any) -> list[DistributedSampler[Any]]:
    """The samplers that have split a loader over processes already; those of several loaders that take turns."""
    return [holder for _, holder in holders(loader) if isinstance(holder, DistributedSampler)]


def counting_epochs(loader: Any) -> list[Any]:
    """What draws the order of an epoch by its number, and has to be told it: ``DistributedSampler``, a stream of ``datasets``."""
    kinds = DistributedSampler, IterableDataset
    return [h for _, h in holders(loader) if isinstance(h, kinds) and callable(getattr(h, "set_epoch", None))]


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
    _put_back(loader, state)


@contextmanager
def undrawn(loader: Any) -> Generator[None]:
    """What is read inside leaves no trace: generators and counters of the loader, its samplers and data sets are put back.

    Where workers persist, a loader has one iterator and starts it again for whoever iterates: what is read inside has workers of its own.
    """
    # Counters are of samplers: a number of a loader's own may describe what it has gathered meanwhile.
    before = {at: kept for at, kept in loader_state(loader).items() if "plain" not in kept or "sampler" in at}
    lasting = [h for _, h in holders(loader) if isinstance(h, DataLoader) and h.persistent_workers]
    under_way = [(holder, vars(holder).pop("_iterator", None)) for holder in lasting]
    for holder, _ in under_way:
        vars(holder)["_iterator"] = None
    try:
        yield
    finally:
        for holder, iterator in under_way:
            vars(holder)["_iterator"] = iterator  # nobody holds that of the inside any more: its workers end
        _put_back(loader, before)


def _put_back(loader: Any, state: Mapping[str, Any]) -> None:
    for place, holder in holders(loader):
        for name, value in list(vars(holder).items()):
            kept = state.get(f"{place}.{name}")
            if kept is not None and (
                value is not None or "plain" in kept
            ):  # a generator may be gone meanwhile
                _restored(holder, name, value, kept)


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
