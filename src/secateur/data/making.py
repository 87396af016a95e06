"""Data sets of samples and their tasks to the Data of a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.utils.data import Dataset, Subset

from secateur.data.augment import Sample
from secateur.data.data import Data
from secateur.data.frames import OnDisk
from secateur.data.loading import Encode, StepLoader
from secateur.data.packing import Packed
from secateur.data.rows import RowFrames
from secateur.problem import Task

TaskOf = tuple[Task, int]
"""A task and the output channels its head needs."""

PRETRAINED_MEAN, PRETRAINED_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of RGB over ImageNet, which pretrained backbones expect."""


def make_data(
    splits: Mapping[str, Dataset[Sample]],
    tasks: Mapping[str, TaskOf],
    *,
    size: tuple[int, int],
    batch: int,
    seed: int,
    classes: Mapping[str, tuple[str, ...]],
    mean: Sequence[float],
    std: Sequence[float],
    workers: int = 0,
    augment: bool = True,
    cache: float | None = None,
    encode: Mapping[str, Encode] | None = None,
) -> Data:
    """Samples and tasks to the parts of a problem.

    Args:
        splits: ``train`` (shuffled each epoch, augmented if ``augment``), ``val`` and ``test`` (in order, as they are).
        tasks: By the field of a sample that each predicts.
        size: ``(height, width)`` of the samples.
        batch: Samples a batch, in training and in evaluation.
        seed: Of order and augmentation.
        classes: Task to class names, for the tasks that have classes.
        mean: Of RGB in [0, 1].
        std: Of RGB in [0, 1].
        workers: Processes that load; 0 loads in this one.
        augment: Zoom and mirror the training samples at random.
        cache: Memory for decoded samples, GiB. If all fit, they are decoded now, so that every error comes now;
            otherwise each is decoded at every use. None: each is decoded at its first use and kept.
        encode: Task to what makes its targets of its field, after augmentation.

    Raises:
        FileNotFoundError: If a file is missing or empty.
        ValueError: If a sample is damaged, or a number is out of range.
    """
    if cache is not None and not cache >= 0:
        raise ValueError(f"cache={cache}; give the memory for decoded samples in GiB, 0 or more.")
    sources = {id(source): source for source in map(_source, splits.values())}
    for source in sources.values():
        if isinstance(source, OnDisk):
            source.check()
    packed = {name: Packed(samples, tuple(tasks)) for name, samples in splits.items()}
    if cache is not None:
        needed = sum(samples.gibibytes() for samples in packed.values())
        keep = needed <= cache
        if not keep and any(isinstance(source, RowFrames) and source.in_order for source in sources.values()):
            raise ValueError(
                f"cache={cache}, but the decoded samples take {needed:.1f} GiB, and Parquet files cannot be read in any "
                "order; raise cache, lower size, or write the data with datasets' save_to_disk, which can."
            )
        for samples in packed.values():
            samples.keep = keep
            if keep:
                samples.fill(max(2, workers))

    def loader(name: str) -> StepLoader:
        training = name == "train"
        return StepLoader(
            dataset=packed[name],
            tasks=tuple(tasks),
            batch=batch,
            mean=mean,
            std=std,
            seed=seed,
            shuffle=training,
            augment=training and augment,
            workers=workers,
            encode=encode or {},
        )

    return Data(
        tasks={name: task for name, (task, _) in tasks.items()},
        channels={name: channels for name, (_, channels) in tasks.items()},
        train=loader("train"),
        val=loader("val"),
        test=loader("test"),
        classes=classes,
        mean=_three(mean),
        std=_three(std),
        size=size,
    )


def _source(samples: Dataset[Sample]) -> Dataset[Sample]:
    return _source(samples.dataset) if isinstance(samples, Subset) else samples


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue
