"""Tiny-Taskonomy: indoor frames of 30 buildings with five tasks (Zamir et al. 2018; lists of AdaShare, Sun et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.data import Data
from secateur.data.dense import (
    check_tasks,
    dense_data,
    edge,
    keypoint,
    mapped,
    segmentation,
    segmentation_count,
    segmentation_loss,
    surface_normal,
)
from secateur.data.fields import (
    IGNORE,
    Decode,
    depth_field,
    image_field,
    label_field,
    map_field,
    normal_field,
    plain_labels,
)
from secateur.data.frames import Frames, reader
from secateur.data.lists import listed_rows
from secateur.data.making import Loading, TaskOf
from secateur.data.pictures import map_picture
from secateur.data.reading import load
from secateur.data.splitting import check_size, with_val
from secateur.data.streams.frames import streamed_frames
from secateur.measures import metrics

TASKS = ("seg", "normal", "depth", "keypoint", "edge")
# fmt: off
CLASSES = (
    "background", "bottle", "chair", "couch", "potted plant", "bed", "dining table", "toilet", "tv",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase",
)
# fmt: on
_FOLDERS = {  # field to the task of Taskonomy, in the order of the lists
    "image": "rgb",
    "seg": "segmentsemantic",
    "normal": "normal",
    "depth": "depth_zbuffer",
    "keypoint": "keypoints2d",
    "edge": "edge_texture",
}
_UNIT, _FAR = 512.0, 64500  # steps a metre; from here on depth is invalid
_DECODE: dict[str, Decode] = {
    "image": image_field,
    "seg": partial(label_field, table=plain_labels(17, first=1, ignored=(0, IGNORE))),
    "normal": normal_field,
    "depth": partial(depth_field, unit=_UNIT, below=_FAR),
    "keypoint": partial(map_field, top=0.005),
    "edge": partial(map_field, top=0.08),
}


def taskonomy(
    *,
    root: str,
    tasks: Sequence[str] = TASKS,
    size: tuple[int, int] = (256, 256),
    batch: int = 16,
    seed: int = 0,
    val_count: int = 1000,
    prior: bool = True,
    workers: int = 0,
    augment: bool = True,
    cache: float = 4.0,
    stream: bool | None = None,
    buffer: int | None = None,
) -> Data:
    """Tiny-Taskonomy: segmentation, normals, depth, keypoints and edges of indoor frames.

    Targets and metrics, each the error or similarity that AdaShare and AdapMTL report:

    - ``seg``: 17 classes; unlabelled pixels are left out (the published code trains on them as class 0). Cross-entropy.
    - ``normal``: unit vectors, invalid where depth is. Mean cosine similarity.
    - ``depth``: ``log(1 + v) / log(65536)`` of the stored value v (512 a metre), -1 where v is 0 or from 64500 on; a zoom
      divides the depth in metres. Mean absolute error of the encoded value.
    - ``keypoint``, ``edge``: clipped at 0.005 and 0.08 and divided by it, in [0, 1]. Mean absolute error. The published
      maps are ``2 x - 1`` of these, in [-1, 1]: their errors are twice ours.

    Args:
        root: Folder with ``taskonomy.json`` and the frames, or with shards to stream.
        tasks: Of seg, normal, depth, keypoint, edge; only their files are read, and depth's for normal.
        size: ``(height, width)`` in pixels; frames are resized to it.
        batch: Frames a batch.
        seed: Of the validation split, the order and the augmentation.
        val_count: Training frames held out to choose settings on.
        prior: Weigh the classes of seg by ``semseg_prior_factor.npy`` in root, in loss and metric.
        workers: Processes that load; 0 loads in this one.
        augment: Zoom and mirror the training frames at random.
        cache: Memory for decoded frames, GiB; if they need more, each is decoded and checked when it is used.
        stream: Read shards from beginning to end, in an order drawn by seed, decoding each frame as it is used; not if left out.
        buffer: Frames of a stream that are shuffled together, held in memory as they are encoded; 200 if left out.

    Raises:
        FileNotFoundError: If root, the list, the prior or a listed file is missing or empty.
        ValueError: If a file is corrupt or holds what it must not, naming it; or an argument is out of range.
    """
    frames = partial(taskonomy_frames, root=root, tasks=tasks, size=size, seed=seed, val_count=val_count)
    splits = frames(prior=prior, stream=stream, buffer=buffer)
    weights = _prior(Path(root)) if prior and "seg" in tasks else None
    return dense_data(
        splits,
        tasks,
        Loading(size, batch, seed, workers, augment, cache),
        classes=CLASSES,
        others=_tasks(weights),
        encode={"depth": encoded_depth},
    )


def taskonomy_frames(
    *,
    root: str,
    tasks: Sequence[str] = TASKS,
    size: tuple[int, int] = (256, 256),
    seed: int = 0,
    val_count: int = 1000,
    prior: bool = True,
    stream: bool | None = None,
    buffer: int | None = None,
) -> dict[str, Dataset[Sample]]:
    """The frames in ``train``, ``val`` and ``test``, decoded when asked for, depth in metres; arguments as of :func:`taskonomy`.

    Raises:
        FileNotFoundError: If root, the list or the prior is missing.
        ValueError: If an argument is out of range, or the list or the prior is damaged.
    """
    check_tasks(tasks, TASKS)
    check_size(size)
    source = Path(root) / "taskonomy.json"
    fields = [f for f in _FOLDERS if f in ("image", *tasks) or (f == "depth" and "normal" in tasks)]
    combine = partial(_masked, fields=("image", *tasks))
    rows = {} if stream else listed_rows(source, ("train", "test"), len(_FOLDERS))
    if prior and "seg" in tasks:
        _prior(Path(root))  # so that the doctor sees it too
    if stream:
        columns = {f: (_FOLDERS[f], _DECODE[f]) for f in fields}
        streamed = partial(streamed_frames, val_count=val_count, seed=seed, buffer=buffer)
        return streamed(Path(root), columns, size, combine)
    readers = {f: reader(_DECODE[f]) for f in fields}

    def split(rows: Sequence[Sequence[str]]) -> Frames:
        return Frames(_Listed(Path(root), rows, fields), readers, size, source=source, combine=combine)

    return with_val({name: split(rows[name]) for name in rows}, val_count, seed)


def encoded_depth(depth: Tensor) -> Tensor:
    """Metres, 0 = invalid, to ``log(1 + 512 m) / log(65536)`` in [0, 1], -1 = invalid."""
    return torch.where(depth > 0, torch.log1p(depth * _UNIT) / math.log(65536.0), -1.0)


class _Listed(Sequence[Mapping[str, Path]]):
    """Frames of a list, their paths made when asked for: a list of 1.6 million frames has ten million of them.

    Of each wanted field the paths are the bytes of one array, which processes that load share as it is.

    A listed ``building/task/file`` lies there, or in DiSparse's order: ``task/taskonomy/building/file``.
    """

    def __init__(self, root: Path, rows: Sequence[Sequence[str]], fields: Sequence[str]) -> None:
        self.root = root
        places = {field: place for place, field in enumerate(_FOLDERS)}
        self.columns = {f: np.array([row[places[f]].lstrip("/").encode() for row in rows]) for f in fields}
        first = rows[0][0].lstrip("/")
        self.reordered = not (root / first).exists() and self._path(first, True).exists()

    def __len__(self) -> int:
        return len(self.columns["image"])

    def __getitem__(self, index: int) -> Mapping[str, Path]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return {f: self._path(column[index].decode(), self.reordered) for f, column in self.columns.items()}

    def __iter__(self) -> Iterator[Mapping[str, Path]]:
        return (self[index] for index in range(len(self)))

    def _path(self, listed: str, reordered: bool) -> Path:
        parts = listed.split("/")
        if reordered and len(parts) == 3:
            building, task, name = parts
            return self.root / task / "taskonomy" / building / name
        return self.root / listed


def _masked(sample: Sample, fields: Sequence[str]) -> Sample:
    """``sample`` with normals only where there is depth, and no field that was not asked for."""
    kept = {field: sample[field] for field in fields}
    if "normal" in kept:
        kept["normal"] = kept["normal"] * (sample["depth"] > 0)
    return kept


def _tasks(weights: Tensor | None) -> dict[str, TaskOf]:
    """The tasks by the measures of Tiny-Taskonomy."""
    entropy = metrics.CrossEntropy(len(CLASSES), None if weights is None else weights.tolist(), IGNORE)
    seg = replace(
        segmentation(len(CLASSES)),
        loss=partial(segmentation_loss, weights=weights),
        metrics={"error": entropy},
        count=partial(segmentation_count, weights=weights),
    )
    depth = mapped(-1.0, {"error": metrics.MapError()}, map_picture)
    return {
        "seg": (seg, len(CLASSES)),
        "normal": (replace(surface_normal(), metrics={"cosine": metrics.CosineSimilarity()}), 3),
        "depth": (depth, 1),
        "keypoint": (keypoint(), 1),
        "edge": (edge(), 1),
    }


def _prior(root: Path) -> Tensor:
    """The weights of the classes, float (17,)."""
    path = root / "semseg_prior_factor.npy"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing; copy it there, or give prior=false to weigh the classes of seg alike."
        )
    weights = load(path)
    numbers = weights.shape == (len(CLASSES),) and weights.dtype.kind in "fiu"
    if not numbers or not bool((np.isfinite(weights) & (weights > 0)).all()):
        raise ValueError(
            f"{path} must hold {len(CLASSES)} weights, finite and above 0, but is {weights.dtype} of shape "
            f"{weights.shape}, or has others; copy it again or give prior=false."
        )
    return torch.as_tensor(weights.astype(np.float32))
