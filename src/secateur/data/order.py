"""Which samples make batch k: a function of the seed and k alone, so that training resumes at any step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Self

import numpy as np

from secateur.problem import Batch, check_count

_ORDER = 0  # keeps these draws apart from those of the augmentation


class Resumable(ABC):
    """Batches by their number: an epoch by iteration, or from any step on."""

    @abstractmethod
    def __len__(self) -> int:
        """Batches an epoch."""

    def __iter__(self) -> Iterator[Batch]:
        """The first epoch, batches 0 to len - 1; the same each time."""
        return iter(self._batches(0, len(self)))

    def from_step(self, step: int) -> Iterator[Batch]:
        """Batches ``step``, ``step + 1`` and so on, epoch after epoch: step k lies in epoch ``k // len(self)``.

        They have no end, except in an evaluation of several domains
        (:class:`~secateur.data.domains.loading.DomainLoader`), which ends with its one epoch.

        Raises:
            ValueError: If ``step`` is negative.
        """
        if step < 0:
            raise ValueError(f"from_step: step={step}; it must not be negative.")
        return iter(self._batches(step, None))

    @abstractmethod
    def share(self, rank: int, world: int) -> Self:
        """The same batches, of each the samples that process ``rank`` of ``world`` has: one piece after the other, all of a size.

        Raises:
            ValueError: If ``world`` does not divide the samples of every batch.
        """

    @abstractmethod
    def _batches(self, start: int, stop: int | None) -> Iterable[Batch]:
        """Batches ``start`` to ``stop - 1``, or without end."""


@dataclass(frozen=True)
class Epochs:
    """Samples in batches, epoch after epoch; step k lies in epoch ``k // len(self)``.

    Args:
        samples: How many there are.
        batch: Samples a batch.
        seed: Not negative.
        shuffle: A new order each epoch, and the last batch is dropped where it is not full; otherwise the order
            is the data set's and the last batch is kept.
        share: Which of how many equal pieces of each batch, ``(rank, world)``.

    Raises:
        ValueError: If a number is out of range, the samples do not fill one batch, or a batch has no equal pieces.
    """

    samples: int
    batch: int
    seed: int = 0
    shuffle: bool = False
    share: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        for name, value, least in (("batch", self.batch, 1), ("seed", self.seed, 0)):
            check_count(f"{name}=", value, least)
        if len(self) == 0:
            raise ValueError(
                f"The {self.samples} samples do not fill one batch of {self.batch}; lower batch or add samples."
            )
        check_shared(self.batch, self.share)
        check_shared(self._last, self.share, "the last batch of an epoch")

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.samples // self.batch if self.shuffle else -(-self.samples // self.batch)

    @property
    def _last(self) -> int:
        """Samples of an epoch's last batch."""
        return self.batch if self.shuffle else self.samples - (len(self) - 1) * self.batch

    def batches(self, steps: Iterable[int]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """For each of ``steps``, ascending, the step and ``(place in the batch, index)`` of each sample of the share."""
        rank, world = self.share
        order, known = np.arange(self.samples), -1
        for step in steps:
            epoch, place = divmod(step, len(self))
            if self.shuffle and epoch != known:
                order = np.random.default_rng((self.seed, _ORDER, epoch)).permutation(self.samples)
                known = epoch
            chosen = order[place * self.batch : (place + 1) * self.batch].tolist()
            own = len(chosen) // world
            yield step, list(enumerate(chosen))[rank * own : (rank + 1) * own]


def check_shared(size: int, share: tuple[int, int], what: str = "batch") -> None:
    """Raises ValueError unless a batch of ``size``, which is called ``what``, has so many equal pieces."""
    rank, world = share
    if not 0 <= rank < world:
        raise ValueError(f"share={share}; give (rank, world) with 0 <= rank < world.")
    if size % world:
        near = " or ".join(str(n) for n in (size - size % world, size + world - size % world) if n)
        raise ValueError(
            f"{what} is {size}, which {world} processes cannot share evenly; give a batch that {world} divides"
            f"{f', such as {near}' if what == 'batch' else ''}, or another number of devices."
        )


def numbered(start: int, stop: int | None) -> Iterable[int]:
    """``start`` to ``stop - 1``, or without end."""
    return count(start) if stop is None else range(start, stop)
