"""Loaders whose batch k is a function of the seed and k alone, so that training resumes at any step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from secateur.data.augment import Sample, normalise, random_view
from secateur.problem import Batch

_ORDER, _VIEW = 0, 1  # keeps the draws of the order apart from those of the augmentation
Draw = tuple[int, int]  # (step, place in the batch)
Encode = Callable[[Tensor], Tensor]
"""A batch of one field to the targets of its task."""


@dataclass(frozen=True, kw_only=True)
class StepLoader:
    """Batches ``(image, {task: target})`` of a data set of samples.

    Sample i of batch k is augmented by draws seeded by (seed, k, i), and the order of an epoch by (seed, epoch);
    no state is kept and no global generator is touched.

    Args:
        dataset: Map-style, of samples (:data:`~secateur.data.augment.Sample`), float image in [0, 1].
        tasks: Fields of a sample that become targets.
        batch: Samples a batch.
        mean: Subtracted from each channel of the image.
        std: Divided by.
        seed: Not negative.
        shuffle: A new order each epoch, and the last batch is dropped where it is not full; otherwise the order
            is the data set's and the last batch is kept.
        augment: Random zoom and mirroring.
        workers: Processes that load; 0 loads in this one.
        encode: Task to what makes its targets of its field, after augmentation; the field itself where left out.

    Raises:
        ValueError: If a number is out of range, or ``dataset`` does not fill one batch.
    """

    dataset: Dataset[Sample]
    tasks: Sequence[str]
    batch: int
    mean: Sequence[float]
    std: Sequence[float]
    seed: int = 0
    shuffle: bool = False
    augment: bool = False
    workers: int = 0
    encode: Mapping[str, Encode] = field(default_factory=dict[str, Encode])

    def __post_init__(self) -> None:
        for name, value, least in (
            ("batch", self.batch, 1),
            ("seed", self.seed, 0),
            ("workers", self.workers, 0),
        ):
            if value < least:
                raise ValueError(f"StepLoader: {name}={value}; it must be at least {least}.")
        if len(self) == 0:
            raise ValueError(
                f"StepLoader: the {self._samples} samples do not fill one batch of {self.batch}; lower batch or add samples."
            )

    def __len__(self) -> int:
        """Batches an epoch."""
        return self._samples // self.batch if self.shuffle else -(-self._samples // self.batch)

    def __iter__(self) -> Iterator[Batch]:
        """The first epoch, batches 0 to len - 1; the same each time."""
        return iter(self._loader(0, len(self)))

    def from_step(self, step: int) -> Iterator[Batch]:
        """Batches ``step``, ``step + 1`` and so on without end; step k lies in epoch ``k // len(self)``.

        Raises:
            ValueError: If ``step`` is negative.
        """
        if step < 0:
            raise ValueError(f"from_step: step={step}; it must not be negative.")
        return iter(self._loader(step, None))

    @property
    def _samples(self) -> int:
        return len(self.dataset)  # pyright: ignore[reportArgumentType]

    def _loader(self, start: int, stop: int | None) -> DataLoader[Any]:
        return DataLoader(
            Views(self.dataset, self.seed, self.augment),
            batch_sampler=_Steps(self, start, stop),
            collate_fn=_Collate(tuple(self.tasks), tuple(self.mean), tuple(self.std), self.encode),
            num_workers=self.workers,
            generator=torch.Generator(),  # DataLoader seeds its workers; without this, from the global generator
        )


class _Steps(Sampler[list[tuple[int, Draw]]]):
    """The batches of the steps in [start, stop)."""

    def __init__(self, loader: StepLoader, start: int, stop: int | None) -> None:
        self.loader, self.start, self.stop = loader, start, stop

    def __iter__(self) -> Iterator[list[tuple[int, Draw]]]:
        steps = islice(count(self.start), None if self.stop is None else self.stop - self.start)
        return drawn(self.loader, steps)


def drawn(loader: StepLoader, steps: Iterable[int]) -> Iterator[list[tuple[int, Draw]]]:
    """For each of ``steps``, ascending, a batch of (index of the sample, draw)."""
    samples, epoch_length = len(loader.dataset), len(loader)  # pyright: ignore[reportArgumentType]
    order, known = np.arange(samples), -1
    for step in steps:
        epoch, place = divmod(step, epoch_length)
        if loader.shuffle and epoch != known:
            order, known = np.random.default_rng((loader.seed, _ORDER, epoch)).permutation(samples), epoch
        chosen = order[place * loader.batch : (place + 1) * loader.batch]
        yield [(int(index), (step, i)) for i, index in enumerate(chosen)]


class Views(Dataset[Sample]):
    """The data set, indexed by (index, draw)."""

    def __init__(self, samples: Dataset[Sample], seed: int, augment: bool) -> None:
        self.samples, self.seed, self.augment = samples, seed, augment

    def __getitem__(self, index: tuple[int, Draw]) -> Sample:
        place, draw = index
        sample = self.samples[place]
        if not self.augment:
            return sample
        return random_view(sample, np.random.default_rng((self.seed, _VIEW, *draw)))


@dataclass(frozen=True)
class _Collate:
    """Samples to one batch; the images are normalised all at once."""

    tasks: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    encode: Mapping[str, Encode]

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        images: Tensor = normalise(torch.stack([s["image"] for s in samples]), self.mean, self.std)
        targets = {task: torch.stack([s[task] for s in samples]) for task in self.tasks}
        return images, {t: self.encode[t](x) if t in self.encode else x for t, x in targets.items()}
