"""Data sets of samples and their tasks to the Data of a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from torch.utils.data import Dataset, Subset

from secateur.data.augment import Sample
from secateur.data.data import Data
from secateur.data.frames import OnDisk
from secateur.data.loading import Encode, StepLoader, check_workers
from secateur.data.packing import Packed, check_cache, keep_what_fits
from secateur.data.rows import RowFrames
from secateur.data.splitting import check_seed
from secateur.data.streams.loading import StreamLoader
from secateur.data.streams.streamed import Streamed
from secateur.problem import Task, check_count

TaskOf = tuple[Task, int]
"""A task and the output channels its head needs."""

PRETRAINED_MEAN, PRETRAINED_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of RGB over ImageNet, which pretrained backbones expect."""


@dataclass(frozen=True)
class Loading:
    """How samples are loaded.

    Args:
        size: ``(height, width)`` of the samples.
        batch: Samples a batch, in training and in evaluation.
        seed: Of order and augmentation.
        workers: Processes that load; 0 loads in this one.
        augment: Zoom and mirror the training samples at random.
        cache: Memory for decoded samples, GiB. If all fit, they are decoded now, so that every error comes now;
            otherwise each is decoded at every use. None: each is decoded at its first use and kept.

    Raises:
        ValueError: If a number is out of range.
    """

    size: tuple[int, int]
    batch: int
    seed: int
    workers: int = 0
    augment: bool = True
    cache: float | None = None

    def __post_init__(self) -> None:
        check_count("batch=", self.batch)
        check_seed(self.seed)
        check_workers(self.workers)
        if self.cache is not None:
            check_cache(self.cache)


def make_data(
    splits: Mapping[str, Dataset[Sample]],
    tasks: Mapping[str, TaskOf],
    loading: Loading,
    *,
    classes: Mapping[str, tuple[str, ...]],
    mean: tuple[float, float, float] = PRETRAINED_MEAN,
    std: tuple[float, float, float] = PRETRAINED_STD,
    encode: Mapping[str, Encode] | None = None,
) -> Data:
    """Samples and tasks to the parts of a problem.

    Args:
        splits: ``train`` (shuffled each epoch, augmented), ``val`` and ``test`` (in order, as they are). What is
            :class:`~secateur.data.streams.streamed.Streamed` is read as it is used, and never kept.
        tasks: By the field of a sample that each predicts.
        loading: How.
        classes: Task to class names, for the tasks that have classes.
        mean: Of RGB in [0, 1].
        std: Of RGB in [0, 1].
        encode: Task to what makes its targets of its field, after augmentation.

    Raises:
        FileNotFoundError: If a file is missing or empty.
        ValueError: If a sample is damaged, or a number is out of range.
    """
    cache = loading.cache
    sources = {id(source): source for source in map(_source, splits.values())}
    for source in sources.values():
        if isinstance(source, (OnDisk, Streamed)):
            source.check()
    packed = {
        name: Packed(samples, tuple(tasks))
        for name, samples in splits.items()
        if not isinstance(samples, Streamed)
    }
    if cache is not None:
        needed = keep_what_fits(list(packed.values()), cache, loading.workers)
        in_order = any(isinstance(source, RowFrames) and source.in_order for source in sources.values())
        if needed > cache and in_order:
            raise ValueError(
                f"cache={cache}, but the decoded samples take {needed:.1f} GiB, and Parquet files cannot be read in any "
                "order; raise cache, lower size, or write the data with datasets' save_to_disk, which can."
            )

    def loader(name: str) -> StepLoader | StreamLoader:
        training, samples = name == "train", splits[name]
        settings = _Settings(
            tasks=tuple(tasks),
            batch=loading.batch,
            mean=mean,
            std=std,
            seed=loading.seed,
            shuffle=training,
            augment=training and loading.augment,
            workers=loading.workers,
            encode=encode or {},
        )
        if isinstance(samples, Streamed):
            return StreamLoader(dataset=samples, **settings)
        return StepLoader(dataset=packed[name], **settings)

    return Data(
        tasks={name: task for name, (task, _) in tasks.items()},
        channels={name: channels for name, (_, channels) in tasks.items()},
        train=loader("train"),
        val=loader("val"),
        test=loader("test"),
        classes=classes,
        mean=mean,
        std=std,
        size=loading.size,
    )


class _Settings(TypedDict):
    """What both kinds of loaders take."""

    tasks: Sequence[str]
    batch: int
    mean: Sequence[float]
    std: Sequence[float]
    seed: int
    shuffle: bool
    augment: bool
    workers: int
    encode: Mapping[str, Encode]


def _source(samples: Dataset[Sample]) -> Dataset[Sample]:
    return _source(samples.dataset) if isinstance(samples, Subset) else samples
