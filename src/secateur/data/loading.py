"""Loaders of samples: augmented, normalised, in batches that can begin at any step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from secateur.data.augment import Sample, normalise, random_view
from secateur.data.order import Epochs, Resumable, numbered
from secateur.problem import Batch, check_count

_VIEW = 1  # keeps these draws apart from those of the order
Draw = tuple[int, int]  # (step, place in the batch)
Encode = Callable[[Tensor], Tensor]
"""A batch of one field to the targets of its task."""


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How samples become batches ``(image, {task: target})``, whatever gives the samples.

    Args:
        tasks: Fields of a sample that become targets.
        batch: Samples a batch.
        mean: Subtracted from each channel of the image.
        std: Divided by.
        seed: Not negative.
        shuffle: Whether an order is drawn.
        augment: Random zoom and mirroring.
        workers: Processes that load; 0 loads in this one.
        encode: Task to what makes its targets of its field, after augmentation; the field itself where left out.
        part: Which of how many equal pieces of each batch, ``(rank, world)``.
    """

    tasks: Sequence[str]
    batch: int
    mean: Sequence[float]
    std: Sequence[float]
    seed: int = 0
    shuffle: bool = False
    augment: bool = False
    workers: int = 0
    encode: Mapping[str, Encode] = field(default_factory=dict[str, Encode])
    part: tuple[int, int] = (0, 1)

    def share(self, rank: int, world: int) -> Self:
        """The same batches, of each the samples of process ``rank`` of ``world``; the draws of a sample are those of the whole batch.

        Raises:
            ValueError: If ``world`` does not divide the samples of a batch.
        """
        return replace(self, part=(rank, world))

    def loaded(self, samples: Dataset[Sample], numbers: Iterable[Any]) -> DataLoader[Any]:
        """Batches of ``samples``, of those that each of ``numbers`` lists."""
        return DataLoader(
            samples,
            batch_sampler=numbers,  # pyright: ignore[reportArgumentType]
            collate_fn=_Collate(tuple(self.tasks), tuple(self.mean), tuple(self.std), self.encode),
            num_workers=self.workers,
            generator=torch.Generator(),  # DataLoader seeds its workers; without this, from the global generator
        )


@dataclass(frozen=True, kw_only=True)
class StepLoader(Batching, Resumable):
    """Batches ``(image, {task: target})`` of a data set of samples.

    Sample i of batch k is augmented by draws seeded by (seed, k, i), and the order of an epoch by (seed, epoch);
    no state is kept and no global generator is touched.

    Args:
        dataset: Map-style, of samples (:data:`~secateur.data.augment.Sample`), float image in [0, 1].
        shuffle: As of :class:`~secateur.data.order.Epochs`, as is ``part``; for the rest see :class:`Batching`.

    Raises:
        ValueError: If a number is out of range, or ``dataset`` does not fill one batch.
    """

    dataset: Dataset[Sample]

    def __post_init__(self) -> None:
        check_workers(self.workers)
        _ = self.epochs  # raises what is wrong with it

    @cached_property
    def epochs(self) -> Epochs:
        """The order of the samples."""
        return Epochs(length(self.dataset), self.batch, self.seed, self.shuffle, self.part)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.epochs)

    def _batches(self, start: int, stop: int | None) -> DataLoader[Any]:
        return self.loaded(Views(self.dataset, self.seed, self.augment), _Steps(self.epochs, start, stop))


def check_workers(workers: int) -> None:
    """Raises ValueError if it is no count of processes."""
    check_count("workers=", workers, 0)


def length(dataset: Dataset[Sample]) -> int:
    """Samples in a map-style data set."""
    return len(dataset)  # pyright: ignore[reportArgumentType]


class _Steps(Sampler[list[tuple[int, Draw]]]):
    """The batches of the steps in [start, stop)."""

    def __init__(self, epochs: Epochs, start: int, stop: int | None) -> None:
        self.epochs, self.start, self.stop = epochs, start, stop

    def __iter__(self) -> Iterator[list[tuple[int, Draw]]]:
        for step, chosen in self.epochs.batches(numbered(self.start, self.stop)):
            yield [(index, (step, i)) for i, index in chosen]


class Views(Dataset[Sample]):
    """The data set, indexed by (index, draw)."""

    def __init__(self, samples: Dataset[Sample], seed: int, augment: bool) -> None:
        self.samples, self.seed, self.augment = samples, seed, augment

    def __getitem__(self, index: tuple[int, Draw]) -> Sample:
        place, draw = index
        sample = self.samples[place]
        return viewed(sample, self.seed, draw) if self.augment else sample


def viewed(sample: Sample, seed: int, draw: Draw) -> Sample:
    """``sample`` augmented as at this place of this step of ``seed``."""
    return random_view(sample, np.random.default_rng((seed, _VIEW, *draw)))


@dataclass(frozen=True)
class _Collate:
    """Samples to one batch; the images are normalised all at once."""

    tasks: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    encode: Mapping[str, Encode]

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """The batch, images (N, 3, H, W)."""
        images: Tensor = normalise(torch.stack([s["image"] for s in samples]), self.mean, self.std)
        targets = {task: torch.stack([s[task] for s in samples]) for task in self.tasks}
        return images, {t: self.encode[t](x) if t in self.encode else x for t, x in targets.items()}
