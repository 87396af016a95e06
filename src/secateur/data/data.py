"""What a data set hands over: tasks, loaders and the facts that a report or an export needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from secateur.problem import Batch, Task


@dataclass(frozen=True)
class Data:
    """The parts of a :class:`~secateur.problem.problem.Problem` that come from a data set.

    Args:
        tasks: Name to Task.
        channels: Task to the number of output channels its head needs.
        train: Training batches, an endless-by-epoch loader that can start at any step (``from_step``).
        val: Batches to choose settings on, held out of the training split by seed.
        test: Batches for the final figures.
        classes: Task to class names, for the tasks that have classes.
        mean: Per-channel mean subtracted from RGB in [0, 1]; empty where the input is no image.
        std: Per-channel standard deviation divided by; empty likewise.
        size: ``(height, width)`` of the images, pixels; empty likewise.
    """

    tasks: Mapping[str, Task]
    channels: Mapping[str, int]
    train: Iterable[Batch]
    val: Iterable[Batch]
    test: Iterable[Batch]
    classes: Mapping[str, tuple[str, ...]]
    mean: tuple[float, float, float] | tuple[()] = ()
    std: tuple[float, float, float] | tuple[()] = ()
    size: tuple[int, int] | tuple[()] = ()
