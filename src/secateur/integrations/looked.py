"""A trainer's own loader as a Problem sees it: looked at without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from copy import copy
from typing import Any

import torch
from torch.utils.data import DataLoader

from secateur.problem import Batch


class Looked:
    """Batches of ``loader`` that leave it as it was: its workers, its place and its generators.

    Args:
        loader: Any that can be iterated again and again.
        batch: What it yields to ``(x, {task: target})``; raises where that is of another form.
    """

    def __init__(self, loader: Iterable[Any], batch: Callable[[Any], Batch]) -> None:
        self._loader, self._batch = loader, batch

    def __len__(self) -> int:
        """Batches of an epoch; 0 where nobody knows."""
        try:
            return len(self._loader) if isinstance(self._loader, Sized) else 0
        except TypeError:  # a DataLoader of an iterable data set
            return 0

    def __iter__(self) -> Iterator[Batch]:
        loader = copy(self._loader)
        if isinstance(loader, DataLoader):
            loader.__dict__["_iterator"] = None  # that of persistent workers is the trainer's
        generators = list(_generators(loader))
        states = [generator.get_state() for generator in generators]
        try:
            yield from map(self._batch, loader)
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


def _generators(loader: Any) -> Iterator[torch.Generator]:
    """Those that a DataLoader and its samplers draw from, where they have their own."""
    batches = getattr(loader, "batch_sampler", None)
    for holder in (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None)):
        if isinstance(found := getattr(holder, "generator", None), torch.Generator):
            yield found
