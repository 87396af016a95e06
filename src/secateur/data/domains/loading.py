"""Batches of several domains, each with images of its own; batch k is a function of the seed and k alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Self

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from secateur.data.augment import Sample, normalise
from secateur.data.loading import Draw, Views, check_workers, length
from secateur.data.order import Epochs, Resumable, numbered
from secateur.problem import Batch

Place = tuple[int, int, Draw]  # domain, index in it, draw


class DomainLoader(Resumable):
    """``({domain: images}, {domain: labels})``, in training ``batch`` of every domain in every batch.

    Each domain has its own epochs and its own order. In evaluation a domain that has run out is absent from the batch.

    Args:
        datasets: Domain to samples with ``image`` and ``label``.
        batch: Images a domain.
        mean: Subtracted from each channel.
        std: Divided by.
        seed: Of order and augmentation.
        training: Shuffled and without end; otherwise in order, once.
        augment: Random zoom and mirroring.
        workers: Processes that load, for all domains together.

    Raises:
        ValueError: If a domain does not fill one batch, or a number is out of range.
    """

    def __init__(
        self,
        datasets: Mapping[str, Dataset[Sample]],
        batch: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        seed: int = 0,
        training: bool = False,
        augment: bool = False,
        workers: int = 0,
    ) -> None:
        check_workers(workers)
        self._names, self._workers, self._training = tuple(datasets), workers, training
        self._mean, self._std = tuple(mean), tuple(std)
        self._epochs: list[Epochs] = []
        self._views: list[Views] = []
        for number, (name, dataset) in enumerate(datasets.items()):
            own = seed + 7919 * number
            try:
                self._epochs.append(Epochs(length(dataset), batch, own, training))
            except ValueError as error:
                raise ValueError(f"Domain {name!r}: {error}") from error
            self._views.append(Views(dataset, own, augment))

    def __len__(self) -> int:
        """Batches until the largest domain has been seen once."""
        return max(map(len, self._epochs))

    def share(self, rank: int, world: int) -> Self:
        """See :class:`~secateur.data.order.Resumable`; of every domain a share of its own."""
        made = copy(self)
        made._epochs = [replace(own, share=(rank, world)) for own in self._epochs]
        return made

    def _batches(self, start: int, stop: int | None) -> DataLoader[Any]:
        return DataLoader(
            _Together(self._views),
            batch_sampler=_Steps(self._epochs, start, stop, self._training),
            collate_fn=self._collate,
            num_workers=self._workers,
            generator=torch.Generator(),
        )

    def _collate(self, samples: Sequence[tuple[int, Sample]]) -> Batch:
        images: dict[str, torch.Tensor] = {}
        labels: dict[str, torch.Tensor] = {}
        for number, name in enumerate(self._names):
            own = [sample for domain, sample in samples if domain == number]
            if own:
                images[name] = normalise(torch.stack([s["image"] for s in own]), self._mean, self._std)
                labels[name] = torch.stack([s["label"] for s in own])
        return images, labels


class _Together(Dataset[tuple[int, Sample]]):
    """All domains, indexed by (domain, (index, draw))."""

    def __init__(self, views: Sequence[Views]) -> None:
        self._views = views

    def __getitem__(self, place: Any) -> tuple[int, Sample]:
        domain, index, draw = place
        return domain, self._views[domain][index, draw]


class _Steps(Sampler[list[Place]]):
    """For each step the places of all domains' samples."""

    def __init__(self, epochs: Sequence[Epochs], start: int, stop: int | None, endless: bool) -> None:
        self.epochs, self.start, self.stop, self.endless = epochs, start, stop, endless

    def __iter__(self) -> Iterator[list[Place]]:
        ends = [self.stop if self.endless else len(own) for own in self.epochs]
        parts = [own.batches(numbered(self.start, end)) for own, end in zip(self.epochs, ends, strict=True)]
        for found in zip_longest(*parts, fillvalue=(0, ())):
            yield [
                (domain, index, (step, i))
                for domain, (step, chosen) in enumerate(found)
                for i, index in chosen
            ]
