"""What is inside a user's own loader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DistributedSampler, IterableDataset

_INSIDE = ("sampler", "batch_sampler", "dataset", "datasets", "loaders")


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
