"""Endless training batches that can start again at any step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import torch

from secateur.problem import Batch, rng_state, set_rng_state


@runtime_checkable
class StepIndexed(Protocol):
    """A loader whose batch k is a pure function of k, such as secateur's own."""

    def from_step(self, step: int) -> Iterator[Batch]:
        """Endless batches from training step ``step`` on."""
        ...


class Stream:
    """Endless batches of ``loader``; the place in the data is in :meth:`state_dict`.

    A loader with ``from_step`` starts anywhere at no cost. Any other is replayed: its epoch begins again from the
    random state it began with, and the batches already used are skipped. Of several processes each takes every n-th
    batch.

    Raises:
        ValueError: On the first batch, if the loader is empty.
    """

    def __init__(self, loader: Iterable[Batch], rank: int = 0, world: int = 1) -> None:
        self._loader, self._rank, self._world = loader, rank, world
        self._epoch_state: dict[str, Any] = {}
        self._used = 0  # batches of this epoch, over all processes
        self._batches: Iterator[Batch] | None = None

    def seek(self, step: int, state: dict[str, Any]) -> None:
        """Goes to training step ``step``; the global random state is the caller's to restore afterwards."""
        if isinstance(self._loader, StepIndexed):
            self._batches = islice(self._loader.from_step(step * self._world), self._rank, None, self._world)
            return
        if not state["epoch"]:
            return
        self._restore_epoch(state["epoch"])
        self._used = state["used"]
        self._batches = iter(self._loader)
        for _ in range(self._used):  # now: a sampler draws its order at the first batch
            if next(self._batches, None) is None:
                raise ValueError(f"it is of batch {self._used} of an epoch, and Problem.train has fewer")

    def state_dict(self) -> dict[str, Any]:
        """Random state at the start of the epoch, and the batches used of it."""
        return {"epoch": self._epoch_state, "used": self._used}

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch of this process."""
        if isinstance(self._loader, StepIndexed):
            if self._batches is None:
                self.seek(0, {})
            assert self._batches is not None
            return next(self._batches)
        chosen: Batch | None = None
        for turn in range(self._world):
            batch = self._next()
            chosen = batch if turn == self._rank else chosen
        assert chosen is not None
        return chosen

    def _next(self) -> Batch:
        for _ in range(2):
            if self._batches is None:
                self._epoch_state = self._begin_epoch()
                self._batches, self._used = iter(self._loader), 0
            batch = next(self._batches, None)
            if batch is not None:
                self._used += 1
                return batch
            self._batches = None
        raise ValueError(
            "Problem.train gave no batch; check that the data set is not smaller than one batch."
        )

    def _begin_epoch(self) -> dict[str, Any]:
        generators = [g.get_state() for g in _generators(self._loader)]
        return {"rng": rng_state(), "generators": generators}

    def _restore_epoch(self, state: dict[str, Any]) -> None:
        self._epoch_state = state
        set_rng_state(state["rng"])
        generators = _generators(self._loader)
        if len(generators) != len(state["generators"]):
            raise ValueError(
                f"{len(state['generators'])} generators drew its data, {len(generators)} do here"
            )
        for generator, saved in zip(generators, state["generators"], strict=True):
            generator.set_state(saved)


def _generators(loader: Any) -> list[torch.Generator]:
    """The generators that a DataLoader and its sampler draw from, where they have their own."""
    holders = (loader, getattr(loader, "sampler", None))
    found = [getattr(holder, "generator", None) for holder in holders]
    distinct = {id(g): g for g in found if isinstance(g, torch.Generator)}
    return list(distinct.values())
