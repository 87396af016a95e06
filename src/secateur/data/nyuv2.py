"""NYU Depth v2: 1449 indoor frames with segmentation, surface normals and depth (Silberman et al. 2012)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from torch.utils.data import Subset

from secateur.data.data import Data
from secateur.data.dense import Measures, check_tasks, dense_data
from secateur.data.nyuv2_files import ArrayFrames, FolderFrames, read_archive, read_list
from secateur.data.packing import Packed

TASKS = ("seg", "normal", "depth")
MEAN, STD = (0.4852, 0.4169, 0.3984), (0.2797, 0.2862, 0.2994)
"""Of RGB over the 795 training frames at 160x120."""

# fmt: off
CLASSES_13 = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv",
    "wall", "window",
)
CLASSES_40 = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture",
    "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat",
    "clothes", "ceiling", "books", "refridgerator", "television", "paper", "towel", "shower curtain", "box",
    "whiteboard", "person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag", "otherstructure",
    "otherfurniture", "otherprop",
)
# fmt: on


def nyuv2(
    *,
    root: str,
    tasks: Sequence[str] = TASKS,
    size: tuple[int, int] = (120, 160),
    batch: int = 16,
    seed: int = 0,
    val_count: int = 80,
    classes: Literal[13, 40] = 13,
    workers: int = 0,
    augment: bool = True,
    measures: Measures = "adapmtl",
) -> Data:
    """NYU-v2, decoded into memory (about 270 kB a frame at 160x120) and checked before anything trains.

    Args:
        root: Either a folder with ``train.txt``, ``test.txt`` and ``{train,test}/{rgb,depth,normal,seg13,seg40}/``,
            or an ``.npz`` archive (or the folder of just one) with ``{train,test}_{rgb,depth_mm,normal_i8,seg13}``.
        tasks: Of seg, normal, depth; only their files are read.
        size: ``(height, width)`` in pixels; frames of another size are resized, depth values stay.
        batch: Frames a batch.
        seed: Of the validation split, the order and the augmentation.
        val_count: Training frames held out to choose settings on; they come from the scenes of training.
        classes: 13 or 40 classes of seg.
        workers: Processes that load; 0 loads in this one.
        augment: Zoom and mirror the training frames at random.
        measures: Whose: of AdapMTL, or of Less is More (IoU by image, cosine similarity, mean absolute error).

    Raises:
        FileNotFoundError: If root, a list or a listed frame's file is missing or empty.
        ValueError: If a file is corrupt or holds what it must not, naming it; or an argument is out of range.
    """
    check_tasks(tasks, TASKS)
    if classes not in (13, 40):
        raise ValueError(f"classes={classes}; NYU-v2 is labelled with 13 or 40.")
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size={size}; give (height, width) in pixels, such as (120, 160).")
    train, test = _frames(Path(root), tuple(tasks), size, classes)
    learn, held = _held_out(len(train), val_count, seed)
    parts = [Packed(part, tasks) for part in (Subset(train, learn), Subset(train, held), test)]
    for part in parts:
        part.fill()
    return dense_data(
        *parts,
        tasks=tasks,
        size=size,
        batch=batch,
        seed=seed,
        classes=CLASSES_13 if classes == 13 else CLASSES_40,
        mean=MEAN,
        std=STD,
        workers=workers,
        augment=augment,
        measures=measures,
    )


def _frames(
    root: Path, tasks: tuple[str, ...], size: tuple[int, int], classes: int
) -> list[FolderFrames] | list[ArrayFrames]:
    """Training and test frames, by what lies in ``root``."""
    if not root.exists():
        raise FileNotFoundError(
            f"root={str(root)!r} does not exist; give the folder that holds the NYU-v2 frames."
        )
    if root.is_dir() and (root / "train.txt").exists():
        lists = {split: read_list(root, split, tasks, classes) for split in ("train", "test")}
        return [FolderFrames(root / split, frames, tasks, size, classes) for split, frames in lists.items()]
    archives = sorted(root.glob("*.npz")) if root.is_dir() else [root]
    if len(archives) != 1 or archives[0].suffix != ".npz":
        found = ", ".join(sorted(p.name for p in root.iterdir())[:8]) if root.is_dir() else "a file"
        raise FileNotFoundError(
            f"root={str(root)!r} holds no NYU-v2: there must be train.txt, test.txt, train/ and test/, or one .npz "
            f"archive; found {found or 'nothing'}."
        )
    arrays = read_archive(archives[0], tasks, classes)
    return [ArrayFrames(archives[0], split, arrays, tasks, size, classes) for split in ("train", "test")]


def _held_out(frames: int, val_count: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices to learn from and, drawn by ``seed``, ``val_count`` held out; both ascending."""
    if not 1 <= val_count < frames:
        raise ValueError(
            f"val_count={val_count}, but there are {frames} training frames; give between 1 and {frames - 1}."
        )
    order = np.random.default_rng((seed, frames)).permutation(frames)
    return sorted(order[val_count:].tolist()), sorted(order[:val_count].tolist())
