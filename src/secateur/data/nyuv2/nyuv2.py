"""NYU Depth v2: 1449 indoor frames with segmentation, surface normals and depth (Silberman et al. 2012)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.data import Data
from secateur.data.dense import Measures, check_tasks, dense_data
from secateur.data.making import Loading
from secateur.data.nyuv2.layouts import Layout, Wanted, read_layout
from secateur.data.splitting import check_size, with_val
from secateur.problem import check_choice

Normals = Literal["decoded", "raw_uint8"]
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
    layout: Layout | Literal["auto"] = "auto",
    normals: Normals = "decoded",
    workers: int = 0,
    augment: bool = True,
    measures: Measures = "adapmtl",
    cache: float = 4.0,
) -> Data:
    """NYU-v2, decoded into memory (about 270 kB a frame at 160x120) and checked before anything trains.

    Args:
        root: Of one of the layouts in docs/data.md.
        tasks: Of seg, normal, depth; only their files are read.
        size: ``(height, width)`` in pixels; frames of another size are resized, depth values stay.
        batch: Frames a batch.
        seed: Of the validation split, the order and the augmentation.
        val_count: Training frames held out to choose settings on, where the layout has no such split of its own; they
            come from the scenes of training.
        classes: 13 or 40 classes of seg. Layouts adashare and less_is_more have 40, mtan and parquet 13.
        layout: What lies in root: ``folder`` or ``archive`` (ours), ``adashare``, ``mtan``, ``parquet`` (Hugging
            Face's tanganke/nyuv2), ``less_is_more``; ``auto`` looks.
        normals: ``decoded``: unit vectors. ``raw_uint8``: as the public code of AdaShare, DiSparse and AdapMTL has it,
            the bytes of the PNG over their length, which is ``n + 1`` made a unit vector: angles come out 2 to 3 times
            smaller, and compare with the published tables alone. Unlike that code, a mirrored normal is right.
        workers: Processes that load; 0 loads in this one.
        augment: Zoom and mirror the training frames at random.
        measures: Whose: of AdapMTL, or of Less is More (IoU by image, cosine similarity, mean absolute error).
        cache: Memory for decoded frames, GiB; if they need more, each is decoded and checked when it is used.

    Raises:
        FileNotFoundError: If root, a list or a listed frame's file is missing or empty.
        ValueError: If a file is corrupt or holds what it must not, naming it; or an argument is out of range.
        ImportError: If the layout is parquet and pyarrow is not installed.
    """
    check_choice("normals", normals, Normals)
    check_choice("measures", measures, Measures)
    splits = nyuv2_frames(
        root=root, tasks=tasks, size=size, seed=seed, val_count=val_count, classes=classes, layout=layout
    )
    return dense_data(
        splits,
        tasks,
        Loading(size, batch, seed, workers, augment, cache),
        classes=CLASSES_13 if classes == 13 else CLASSES_40,
        mean=MEAN,
        std=STD,
        measures=measures,
        encode={"normal": raw_normals} if normals == "raw_uint8" else None,
    )


def nyuv2_frames(
    *,
    root: str,
    tasks: Sequence[str] = TASKS,
    size: tuple[int, int] = (120, 160),
    seed: int = 0,
    val_count: int = 80,
    classes: Literal[13, 40] = 13,
    layout: Layout | Literal["auto"] = "auto",
) -> dict[str, Dataset[Sample]]:
    """The frames of NYU-v2 in ``train``, ``val`` and ``test``, decoded when asked for; arguments as of :func:`nyuv2`.

    Raises:
        FileNotFoundError: If root or a list is missing.
        ValueError: If an argument is out of range, or a list is damaged.
        ImportError: If the layout is parquet and pyarrow is not installed.
    """
    check_tasks(tasks, TASKS)
    if classes not in (13, 40):
        raise ValueError(f"classes={classes}; NYU-v2 is labelled with 13 or 40.")
    check_size(size)
    splits = read_layout(Wanted(Path(root), tuple(tasks), size, classes), layout)
    return splits if "val" in splits else with_val(splits, val_count, seed)


def raw_normals(normal: Tensor) -> Tensor:
    """Unit normals (N, 3, H, W) to their undecoded bytes over their length: ``n + 1`` made a unit vector; zero stays."""
    valid = normal.abs().sum(1, keepdim=True) > 0
    return torch.where(valid, F.normalize(normal + 1.0, dim=1), 0.0)
