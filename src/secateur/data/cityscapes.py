"""Cityscapes: 3475 street scenes with segmentation and disparity (Cordts et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.data import Data
from secateur.data.dense import check_tasks, dense_data, mapped
from secateur.data.fields import IGNORE, Array, depth_field, label_table, metre_field, plain_labels
from secateur.data.frames import Frames, readers
from secateur.data.lists import numbered_frames
from secateur.data.making import Loading
from secateur.data.pictures import inverse_depth_picture
from secateur.data.reading import is_apart
from secateur.data.splitting import check_size, with_val
from secateur.measures import metrics

Layout = Literal["official", "mtan"]
TASKS = ("seg", "depth")
# fmt: off
CLASSES_7 = ("flat", "construction", "object", "nature", "sky", "human", "vehicle")
CLASSES_19 = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)
_EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)  # stored, in the order of the 19
_CATEGORY = (0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 5, 6, 6, 6, 6, 6, 6)  # of each of the 19 among the 7
# fmt: on
_BASELINE, _FOCAL = 0.209313, 2262.52  # metres, pixels: those of most of the cameras


def cityscapes(
    *,
    root: str,
    tasks: Sequence[str] = TASKS,
    size: tuple[int, int] = (128, 256),
    batch: int = 8,
    seed: int = 0,
    val_count: int = 300,
    classes: Literal[7, 19] = 7,
    layout: Layout | Literal["auto"] = "auto",
    workers: int = 0,
    augment: bool = True,
    cache: float = 4.0,
) -> Data:
    """Cityscapes: segmentation and inverse depth. Its ``val`` split is our test split.

    ``depth`` is learnt and measured as MTAN does: inverse depth, 0 = invalid, mean absolute and relative error. Of the
    official files it is in 1/m, the disparity ``(p - 1) / 256`` pixels over baseline times focal length (0.209 m x 2263
    pixels, those of most cameras); of MTAN's in MTAN's own unit. A zoom multiplies it, for it divides the depth. An error in metres
    would need the scale of each frame, baseline times focal length, which MTAN's files do not have; none is given.

    Args:
        root: With ``leftImg8bit``, ``gtFine`` and ``disparity``, or of MTAN's layout (docs/data.md).
        tasks: Of seg, depth; only their files are read.
        size: ``(height, width)`` in pixels; frames are resized to it.
        batch: Frames a batch.
        seed: Of the validation split, the order and the augmentation.
        val_count: Training frames held out to choose settings on.
        classes: 19 evaluated classes of seg, or their 7 categories; all else is left out.
        layout: ``official``, ``mtan``, or ``auto``: look.
        workers: Processes that load; 0 loads in this one.
        augment: Zoom and mirror the training frames at random.
        cache: Memory for decoded frames, GiB; if they need more, each is decoded and checked when it is used.

    Raises:
        FileNotFoundError: If root or a file is missing or empty.
        ValueError: If a file is corrupt or holds what it must not, naming it; or an argument is out of range.
    """
    splits = cityscapes_frames(
        root=root, tasks=tasks, size=size, seed=seed, val_count=val_count, classes=classes, layout=layout
    )
    measured = {"abs": metrics.DepthError(statistic="abs"), "rel": metrics.DepthError(statistic="rel")}
    depth = mapped(0.0, measured, inverse_depth_picture)
    return dense_data(
        splits,
        tasks,
        Loading(size, batch, seed, workers, augment, cache),
        classes=CLASSES_7 if classes == 7 else CLASSES_19,
        others={"depth": (depth, 1)},
        encode={"depth": inverse},
    )


def cityscapes_frames(
    *,
    root: str,
    tasks: Sequence[str] = TASKS,
    size: tuple[int, int] = (128, 256),
    seed: int = 0,
    val_count: int = 300,
    classes: Literal[7, 19] = 7,
    layout: Layout | Literal["auto"] = "auto",
) -> dict[str, Dataset[Sample]]:
    """The frames in ``train``, ``val`` and ``test``, decoded when asked for, depth in metres; arguments as of :func:`cityscapes`.

    Raises:
        FileNotFoundError: If root or its folders are missing.
        ValueError: If an argument is out of range.
    """
    check_tasks(tasks, TASKS)
    check_size(size)
    if classes not in (7, 19):
        raise ValueError(f"classes={classes}; Cityscapes is labelled with 7 or 19.")
    fields = ("image", *tasks)
    folder = Path(root)
    read = _official if _layout(folder, layout) == "official" else _mtan
    splits = {ours: read(folder, theirs, fields, size, classes) for ours, theirs in _SPLITS.items()}
    return with_val(splits, val_count, seed)


def inverse(x: Tensor) -> Tensor:
    """``1 / x``, and 0 where ``x`` is 0: metres to inverse depth and back."""
    return torch.where(x > 0, 1.0 / x.clamp(min=1e-12), 0.0)


def label_ids(classes: int) -> Array:
    """The table of the labels in ``*_labelIds.png``: the 19 evaluated classes, or their categories; the rest is ignored."""
    ids = {label: _CATEGORY[k] if classes == 7 else k for k, label in enumerate(_EVALUATED)}
    return label_table(ids, tuple(label for label in (*range(34), IGNORE) if label not in ids))


_SPLITS = {"train": "train", "test": "val"}


def _layout(root: Path, layout: str) -> str:
    signs = {"official": root / "leftImg8bit", "mtan": root / "train" / "image"}
    if layout != "auto" and layout not in signs:
        raise ValueError(f"layout={layout!r}; choose auto or one of {', '.join(get_args(Layout))}.")
    found = [name for name, sign in signs.items() if sign.is_dir() and layout in ("auto", name)]
    if len(found) > 1:
        raise ValueError(f"root={str(root)!r} could be {' or '.join(found)}; say which by layout=.")
    if not found:
        raise FileNotFoundError(
            f"root={str(root)!r} holds no Cityscapes: there must be leftImg8bit/, gtFine/ and disparity/, or train/image/ "
            "of MTAN."
        )
    return found[0]


def _official(root: Path, split: str, fields: Sequence[str], size: tuple[int, int], classes: int) -> Frames:
    """``{kind}/{split}/{city}/{frame}_{kind}.png``."""
    places = {
        "image": ("leftImg8bit", "leftImg8bit"),
        "seg": ("gtFine", "gtFine_labelIds"),
        "depth": ("disparity", "disparity"),
    }
    source = root / "leftImg8bit" / split
    images = sorted(p for p in source.glob("*/*_leftImg8bit.png") if not is_apart(p.name))
    if not images:
        raise FileNotFoundError(
            f"{source} holds no */*_leftImg8bit.png; unpack leftImg8bit_trainvaltest.zip here."
        )

    def frame(image: Path) -> dict[str, Path]:
        stem, city = image.name.removesuffix("_leftImg8bit.png"), image.parent.name
        return {f: root / places[f][0] / split / city / f"{stem}_{places[f][1]}.png" for f in fields}

    found = readers(fields, label_ids(classes), _disparity)
    return Frames([frame(image) for image in images], found, size, source=source)


def _mtan(root: Path, split: str, fields: Sequence[str], size: tuple[int, int], classes: int) -> Frames:
    """``{split}/{image,label_7,label_19,depth}/{i}.npy``."""
    kinds = {f: {"seg": f"label_{classes}"}.get(f, f) for f in fields}
    return numbered_frames(root / split, kinds, readers(fields, plain_labels(classes), _inverse_depth), size)


def _disparity(array: Array, place: str) -> Tensor:
    """16 bit, p = 256 d + 1 with d in pixels, 0 = invalid, to metres; a disparity of 0 is infinitely far: invalid too."""
    steps = depth_field(array, place, unit=1.0).sub_(1.0)
    return inverse(steps).mul_(_BASELINE * _FOCAL * 256.0)


def _inverse_depth(array: Array, place: str) -> Tensor:
    return inverse(metre_field(array, place))
