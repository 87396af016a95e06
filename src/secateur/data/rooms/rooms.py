"""``rooms``: the built-in data set, furnished indoor scenes ray-cast on the fly from a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.data import Data
from secateur.data.dense import Measures, check_tasks, dense_data
from secateur.data.making import Loading
from secateur.data.rooms.parts import CLASSES
from secateur.data.rooms.render import render
from secateur.data.rooms.scene import layout
from secateur.problem import check_count

TASKS = ("seg", "normal", "depth", "edge", "keypoint")
MEAN, STD = (0.467, 0.434, 0.396), (0.151, 0.151, 0.166)
"""Of RGB over the first 300 scenes of seed 0."""


class Rooms(Dataset[Sample]):
    """Scenes ``first`` to ``first + count - 1`` of a seed; each is a pure function of (seed, index).

    A sample has ``image`` (3, H, W) RGB in [0, 1], ``seg`` (H, W) class index, ``normal`` (3, H, W) unit vectors
    towards the camera (x right, y down, z forward), ``depth`` (1, H, W) metres, ``edge`` and ``keypoint`` (1, H, W)
    in [0, 1].

    Args:
        count: Number of scenes.
        size: ``(height, width)`` in pixels, at least 8 each.
        seed: Not negative.
        first: Index of the first scene, so that splits do not overlap.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, count: int, size: tuple[int, int] = (48, 64), seed: int = 0, first: int = 0) -> None:
        if len(size) != 2 or min(size) < 8:
            raise ValueError(
                f"Rooms: size={size}; give (height, width) of at least 8 pixels each, such as (48, 64)."
            )
        for name, value, least in (("count", count, 1), ("seed", seed, 0), ("first", first, 0)):
            check_count(f"Rooms: {name}=", value, least)
        self.count, self.size, self.seed, self.first = count, size, seed, first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """The sample; drawn anew at each call.

        Raises:
            IndexError: If there is no such scene.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"Rooms: index {index} of {self.count} scenes.")
        rng = np.random.default_rng((self.seed, self.first + index))
        view = render(layout(rng), *self.size, rng)
        return {
            "image": torch.from_numpy(view.image.transpose(2, 0, 1).copy()),
            "seg": torch.from_numpy(view.seg.astype(np.int64)),
            "normal": torch.from_numpy(view.normal.transpose(2, 0, 1).astype(np.float32)),
            "depth": torch.from_numpy(view.depth[None].astype(np.float32)),
            "edge": torch.from_numpy(view.edge[None].astype(np.float32)),
            "keypoint": torch.from_numpy(view.keypoint[None]),
        }


def rooms(
    *,
    tasks: Sequence[str] = ("seg", "normal", "depth"),
    size: tuple[int, int] = (48, 64),
    batch: int = 16,
    seed: int = 0,
    train_count: int = 2048,
    val_count: int = 64,
    test_count: int = 128,
    workers: int = 0,
    measures: Measures = "adapmtl",
) -> Data:
    """Synthetic indoor scenes for up to five tasks; needs no files, and the same seed gives the same bytes.

    Args:
        tasks: Of seg (13 classes), normal, depth (metres), edge, keypoint.
        size: ``(height, width)`` in pixels.
        batch: Images a batch.
        seed: Of the scenes, their order and the augmentation.
        train_count: Training scenes; each is drawn when it is first used and kept in memory.
        val_count: Scenes to choose settings on.
        test_count: Scenes for the final figures.
        workers: Processes that load; 0 loads in this one.
        measures: Whose: of AdapMTL, or of Less is More (IoU by image, cosine similarity, mean absolute error).

    Raises:
        ValueError: If a task is unknown or a number is out of range.
    """
    check_tasks(tasks, TASKS)
    splits = rooms_frames(
        size=size, seed=seed, train_count=train_count, val_count=val_count, test_count=test_count
    )
    return dense_data(
        splits,
        tasks,
        Loading(size, batch, seed, workers),
        classes=CLASSES,
        mean=MEAN,
        std=STD,
        measures=measures,
    )


def rooms_frames(
    *,
    size: tuple[int, int] = (48, 64),
    seed: int = 0,
    train_count: int = 2048,
    val_count: int = 64,
    test_count: int = 128,
) -> dict[str, Dataset[Sample]]:
    """The scenes in ``train``, ``val`` and ``test``, drawn when asked for; arguments as of :func:`rooms`.

    Raises:
        ValueError: If a number is out of range.
    """
    for name, count in {"train": train_count, "val": val_count, "test": test_count}.items():
        check_count(f"{name}_count=", count)
    return {
        "train": Rooms(train_count, size, seed),
        "val": Rooms(val_count, size, seed, first=train_count),
        "test": Rooms(test_count, size, seed, first=train_count + val_count),
    }
