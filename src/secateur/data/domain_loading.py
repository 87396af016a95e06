"""Batches of several domains, each with images of its own; batch k is a function of the seed and k alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice, zip_longest
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from secateur.data.augment import Sample, normalise
from secateur.data.loading import Draw, StepLoader, Views, drawn
from secateur.problem import Batch

Place = tuple[int, int, Draw]  # domain, index in it, draw


class DomainLoader:
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
        self._names, self._workers, self._training = tuple(datasets), workers, training
        self._mean, self._std = tuple(mean), tuple(std)
        self._parts = [
            StepLoader(
                dataset=dataset,
                tasks=("label",),
                batch=batch,
                mean=mean,
                std=std,
                seed=seed + 7919 * number,
                shuffle=training,
                augment=augment,
            )
            for number, dataset in enumerate(datasets.values())
        ]

    def __len__(self) -> int:
        """Batches until the largest domain has been seen once."""
        return max(len(part) for part in self._parts)

    def __iter__(self) -> Iterator[Batch]:
        """Batches 0 to len - 1; the same each time."""
        return iter(self._loader(0, len(self)))

    def from_step(self, step: int) -> Iterator[Batch]:
        """Batches ``step``, ``step + 1`` and so on without end.

        Raises:
            ValueError: If ``step`` is negative.
        """
        if step < 0:
            raise ValueError(f"from_step: step={step}; it must not be negative.")
        return iter(self._loader(step, None))

    def _loader(self, start: int, stop: int | None) -> DataLoader[Any]:
        views = [Views(part.dataset, part.seed, part.augment) for part in self._parts]
        return DataLoader(
            _Together(views),
            batch_sampler=_Steps(self._parts, start, stop, self._training),
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

    def __init__(self, parts: Sequence[StepLoader], start: int, stop: int | None, endless: bool) -> None:
        self.parts, self.start, self.stop, self.endless = parts, start, stop, endless

    def __iter__(self) -> Iterator[list[Place]]:
        length = None if self.stop is None else self.stop - self.start
        if self.endless:
            draws = [drawn(part, count(self.start)) for part in self.parts]
            steps: Iterator[Any] = zip(*draws, strict=False)
        else:
            draws = [drawn(part, range(self.start, len(part))) for part in self.parts]
            steps = zip_longest(*draws, fillvalue=())
        for step in islice(steps, length):
            yield [(domain, *place) for domain, places in enumerate(step) for place in places]
