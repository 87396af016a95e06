"""Endless training batches that can start again at any step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol, cast, runtime_checkable

import torch

from secateur.problem import (
    check_same,
    counting_epochs,
    distributed_samplers,
    holders,
    length,
    loader_state,
    restore_loader,
    rng_state,
    set_rng_state,
)
from secateur.training.resuming.identity import digest_of, fingerprint, identity


@runtime_checkable
class StepIndexed(Protocol):
    """A loader whose batch k is a pure function of k, such as secateur's own."""

    def from_step(self, step: int) -> Iterator[Any]:
        """Endless batches from training step ``step`` on."""
        ...


@runtime_checkable
class Shareable(StepIndexed, Protocol):
    """One whose batches several processes can share, such as secateur's own."""

    def share(self, rank: int, world: int) -> Iterable[Any]:
        """The same batches, of each the samples of process ``rank`` of ``world``, in their order."""
        ...


@runtime_checkable
class Placed(StepIndexed, Protocol):
    """One that need not look for a step where it is told the place, which its batches say: ``place()``, plain values."""

    def from_place(self, step: int, place: Mapping[str, Any]) -> Iterator[Any]:
        """Endless batches from training step ``step`` on, which begins at ``place``."""
        ...


class Stream:
    """Endless batches of ``loader``; the place in the data is in :meth:`state_dict`.

    A loader with ``from_step`` starts anywhere at no cost, one with ``from_place`` where it is told the place. Any other is replayed: its epoch begins again from the
    random state it began with, its own and that of its samplers and data sets, and the batches already used are skipped.
    Of several processes each takes its share of every batch, where the loader has ``share``; otherwise every n-th batch, unless
    a ``DistributedSampler`` has split them; that is told its epoch, as is a stream of ``datasets``.

    Raises:
        ValueError: If a batch cannot be shared; on the first batch, if the loader is empty.
    """

    def __init__(self, loader: Iterable[Any], rank: int = 0, world: int = 1) -> None:
        self.shared = world > 1 and isinstance(loader, Shareable)
        """Whether the processes share each batch, so that a step is that of one process."""
        self._whole = loader
        if world > 1 and isinstance(loader, Shareable):
            loader, rank, world = loader.share(rank, world), 0, 1
        samplers = distributed_samplers(loader)  # they have split the data already
        self._counting = counting_epochs(loader)
        self._loader, self._rank, self._world = (
            loader,
            *((0, 1) if samplers else (rank, world)),
        )
        self._epoch = -1
        self._epoch_state: dict[str, Any] = {}
        self._used = 0  # batches of this epoch, over all processes
        self._taken = 0  # by this process, since training began: more than steps, where some had no label
        self._gave = False
        self._batches: Iterator[Any] | None = None
        self._found: Iterator[Any] | None = None  # the same, not yet divided

    def check_same(
        self, method: object, weighting: object, decides: Mapping[str, Any], device: torch.device
    ) -> None:
        """Raises ValueError, in all processes that share batches, if one trains otherwise or reads other data than the first.

        Args:
            method: As it was made.
            weighting: As it was made.
            decides: What else must be the same, as plain values.
            device: Where tensors can be sent from.
        """
        if self.shared:
            data = {"the first and the last batch of its data": _digest(self._whole)}
            remedy = "Give all the same settings and the same data, such as by a folder that all nodes see."
            parts = {**identity(method, "method"), **identity(weighting, "weighting")}
            check_same({**parts, **decides, **data}, device, remedy)

    def seek(self, step: int, state: dict[str, Any]) -> None:
        """Goes to training step ``step``; the global random state is the caller's to restore afterwards."""
        self._taken = state.get("taken", step)
        if isinstance(self._loader, StepIndexed):
            first = self._taken * self._world
            place = state.get("place")
            if place and isinstance(self._loader, Placed) and self._world == 1:
                self._found = self._loader.from_place(first, place)
            else:
                self._found = self._loader.from_step(first)
            self._batches = islice(self._found, self._rank, None, self._world)
            return
        if not state["epoch"]:
            return
        used, number = state["used"], state["epoch"]["number"]
        if any(type(count) is not int or count < 0 for count in (used, number)):
            raise ValueError(
                f"it is of batch {used!r:.80} of epoch {number!r:.80}, which is no place in the data"
            )
        self._restore_epoch(state["epoch"])
        self._used = used
        self._batches = iter(self._loader)
        for _ in range(self._used):  # now: a sampler draws its order at the first batch
            if next(self._batches, None) is None:
                raise ValueError(f"it is of batch {self._used} of an epoch, and Problem.train has fewer")

    def state_dict(self) -> dict[str, Any]:
        """Random state at the start of the epoch, the batches used of it, those taken in all, and the place that they came to."""
        state: dict[str, Any] = {"epoch": self._epoch_state, "used": self._used, "taken": self._taken}
        if isinstance(self._loader, Placed) and self._found is not None:
            state["place"] = cast(Any, self._found).place()
        return state

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """The next batch of this process."""
        if isinstance(self._loader, StepIndexed):
            if self._batches is None:
                self.seek(0, {})
            assert self._batches is not None
            self._taken += 1
            return next(self._batches)
        self._taken += 1
        chosen: Any = None
        for turn in range(self._world):
            batch = self._next()
            chosen = batch if turn == self._rank else chosen
        assert chosen is not None
        return chosen

    def _next(self) -> Any:
        for _ in range(2):
            if self._batches is None:
                self._epoch_state = self._begin_epoch()
                self._batches, self._used = iter(self._loader), 0
            batch = next(self._batches, None)
            if batch is not None:
                self._used += 1
                self._gave = True
                return batch
            self._batches = None
        raise ValueError(
            "Problem.train gave no batch; check that the data set is not smaller than one batch."
            if not self._gave
            else "Problem.train gave no batch when it was begun again, so it can be read only once; its __iter__ must begin anew each "
            "time, as that of a DataLoader or a list does."
        )

    def _begin_epoch(self) -> dict[str, Any]:
        self._epoch += 1
        self._tell()
        return {"rng": rng_state(), "loader": loader_state(self._loader), "number": self._epoch}

    def _tell(self) -> None:
        for holder in self._counting:
            holder.set_epoch(self._epoch)

    def _restore_epoch(self, state: dict[str, Any]) -> None:
        self._epoch_state = state
        self._epoch = state["number"]
        self._tell()
        set_rng_state(state["rng"])
        restore_loader(self._loader, state["loader"])


def _digest(loader: Any) -> str:
    """Of the length of an epoch and of two of its batches."""
    count = length(loader) or 1
    ends = (next(loader.from_step(step)) for step in (0, count - 1))
    return f"{digest_of(fingerprint(loader), *ends)[:12]} of {count} batches"


def unrepeatable(loader: Any) -> str:
    """Why an epoch of this loader cannot be replayed bit for bit; empty where it can."""
    if any(getattr(holder, "persistent_workers", False) for _, holder in holders(loader)):
        return "its persistent workers keep random state of their own; set persistent_workers=False"
    return ""
