"""Loaders of streams: augmented, normalised, in batches that can begin at any step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.loading import Batching, Draw, check_workers, viewed
from secateur.data.order import check_shared
from secateur.data.streams.order import Place, Raw
from secateur.data.streams.streamed import Streamed
from secateur.problem import Batch, check_count


@dataclass(frozen=True, kw_only=True)
class StreamLoader(Batching):
    """Batches ``(image, {task: target})`` of a stream of samples.

    In training the epochs follow each other without a gap: the batch in which one ends is filled with the first samples of the
    next, so each sample of an epoch is seen once and none is left over. Batch k is a function of the seed, ``buffer`` and k
    alone. Every process reads all samples, in the same order, and decodes those of its share; so which it sees depends neither
    on the number of processes nor on the number of shards. This process reads, ``workers`` decode.

    Args:
        dataset: The samples.
        shuffle: Draws the order, without end; otherwise the order is that of the shards and the last batch may be smaller.
        workers: Processes that decode; 0 decodes in this one. For the rest see :class:`~secateur.data.loading.Batching`.

    Raises:
        ValueError: If a number is out of range, or the samples are known not to fill one batch.
    """

    dataset: Streamed

    def __post_init__(self) -> None:
        check_workers(self.workers)
        for name, value, least in (("batch", self.batch, 1), ("seed", self.seed, 0)):
            check_count(f"{name}=", value, least)
        check_shared(self.batch, self.part)
        known = self._order.samples
        if known is not None and known < (self.batch if self.shuffle else 1):
            raise ValueError(_too_few(known, self.batch))

    def __len__(self) -> int:
        """Full batches of an epoch; without ``shuffle`` all.

        Raises:
            TypeError: If nobody knows, as of tar shards.
        """
        known = self._order.samples
        if known is None:
            raise TypeError("nobody knows how many samples there are in shards that do not say it")
        return known // self.batch if self.shuffle else -(-known // self.batch)

    def __iter__(self) -> Iterator[Batch]:
        """The first epoch; with ``shuffle`` without its last batch where that is not full."""
        return _Batches(self, 0, Place(), once=True)

    def from_step(self, step: int) -> Iterator[Batch]:
        """Batches ``step``, ``step + 1`` and so on without end.

        Shards that do not say how many samples they have are looked through up to there, names alone; :meth:`from_place` does
        not need that.

        Raises:
            ValueError: If ``step`` is negative.
        """
        if step < 0:
            raise ValueError(f"from_step: step={step}; it must not be negative.")
        return _Batches(self, step, self._order.at(step * self.batch) if step else Place())

    def from_place(self, step: int, place: Mapping[str, Any]) -> Iterator[Batch]:
        """Batches from ``step`` on, which begins at ``place``, as the iterator's ``place()`` said of it.

        Raises:
            ValueError: If that is no place.
        """
        found = Place.of(place)
        self._order.check(found)
        return _Batches(self, step, found)

    @property
    def fingerprint(self) -> str:
        """Of the shards and of how many of their samples are shuffled together."""
        return f"{self.dataset.fingerprint} {self.dataset.buffer}"

    @property
    def _order(self) -> Any:
        return self.dataset.order(self.seed if self.shuffle else None)

    def feed(
        self, step: int, place: Place, once: bool, places: dict[int, Place]
    ) -> Iterator[list[tuple[Raw, Draw]]]:
        """This process's samples of each batch, not yet decoded; in ``places`` what comes after each batch."""
        rank, world = self.part
        samples = self._order.from_place(place, once)
        while found := list(islice(samples, self.batch)):
            if len(found) < self.batch and self.shuffle:  # the end of an epoch that is asked for alone
                return
            check_shared(len(found), self.part, "the last batch of an epoch")
            first, last = found[0][0], found[-1][0]
            if last.epoch > first.epoch + 1:
                raise ValueError(_too_few(None, self.batch))
            places[step] = replace(last, used=last.used + 1)
            own = len(found) // world
            mine = list(enumerate(found))[rank * own : (rank + 1) * own]
            yield [(raw, (step, i)) for i, (_, raw) in mine]
            step += 1


class _Batches(Iterator[Batch]):
    """Batches from a step on, and the place in the data that they have come to."""

    def __init__(self, loader: StreamLoader, step: int, place: Place, once: bool = False) -> None:
        self._step, self._place, self._after = step, place, dict[int, Place]()
        decoded, feed = (
            _Decoded(loader.dataset, loader.seed, loader.augment),
            _Feed(loader, step, place, once, self._after),
        )
        self._batches: Iterator[Batch] = iter(loader.loaded(decoded, feed))

    def __next__(self) -> Batch:
        batch = next(self._batches)
        self._place = self._after.pop(self._step)
        self._step += 1
        return batch

    def place(self) -> dict[str, int]:
        """Where the next batch begins, as plain values."""
        return asdict(self._place)


@dataclass
class _Feed:
    """What a DataLoader takes for a sampler: the samples themselves, read here, stand for their numbers."""

    loader: StreamLoader
    step: int
    place: Place
    once: bool
    places: dict[int, Place]

    def __iter__(self) -> Iterator[list[tuple[Raw, Draw]]]:
        return self.loader.feed(self.step, self.place, self.once, self.places)


class _Decoded(Dataset[Sample]):
    """Samples that were read, decoded and augmented."""

    def __init__(self, samples: Streamed, seed: int, augment: bool) -> None:
        self.samples, self.seed, self.augment = samples, seed, augment

    def __getitem__(self, index: tuple[Raw, Draw]) -> Sample:
        raw, draw = index
        sample = self.samples.decoded(raw)
        return viewed(sample, self.seed, draw) if self.augment else sample


def _too_few(samples: int | None, batch: int) -> str:
    many = "samples of an epoch" if samples is None else f"{samples} samples"
    return f"The {many} do not fill one batch of {batch}; lower batch or add samples."
