"""Which samples make batch k: a function of the seed and k alone, so that training resumes at any step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from secateur.problem import Batch

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

    Raises:
        ValueError: If a number is out of range, or the samples do not fill one batch.
    """

    samples: int
    batch: int
    seed: int = 0
    shuffle: bool = False

    def __post_init__(self) -> None:
        for name, value, least in (("batch", self.batch, 1), ("seed", self.seed, 0)):
            if value < least:
                raise ValueError(f"{name}={value}; it must be at least {least}.")
        if len(self) == 0:
            raise ValueError(
                f"The {self.samples} samples do not fill one batch of {self.batch}; lower batch or add samples."
            )

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.samples // self.batch if self.shuffle else -(-self.samples // self.batch)

    def batches(self, steps: Iterable[int]) -> Iterator[tuple[int, list[int]]]:
        """For each of ``steps``, ascending, the step and the indices of its samples."""
        order, known = np.arange(self.samples), -1
        for step in steps:
            epoch, place = divmod(step, len(self))
            if self.shuffle and epoch != known:
                order = np.random.default_rng((self.seed, _ORDER, epoch)).permutation(self.samples)
                known = epoch
            yield step, order[place * self.batch : (place + 1) * self.batch].tolist()


def numbered(start: int, stop: int | None) -> Iterable[int]:
    """``start`` to ``stop - 1``, or without end."""
    return count(start) if stop is None else range(start, stop)
