"""Any image data set of the Hugging Face hub that lies on disk: several labels of the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from secateur.data.arrow import class_names, decoded_image, files_by_split, of_split, values
from secateur.data.augment import Sample
from secateur.data.data import Data
from secateur.data.fields import image_field
from secateur.data.labels import NONE, classification
from secateur.data.making import Loading, make_data
from secateur.data.rows import RowFrames
from secateur.data.splitting import check_size, held_out, with_val

_VAL, _TEST = ("validation", "valid", "val", "dev"), ("test",)


def hf_images(
    *,
    root: str,
    labels: Mapping[str, str],
    image: str = "image",
    size: tuple[int, int] = (224, 224),
    batch: int = 16,
    seed: int = 0,
    val_count: int = 500,
    test_count: int = 500,
    workers: int = 0,
    augment: bool = True,
    cache: float = 4.0,
) -> Data:
    """Images and labels from Parquet files or from what ``datasets.save_to_disk`` wrote; each task is a classification.

    Splits: ``train``, ``validation`` and ``test`` where there are all three. Without ``test`` it is the validation that
    is tested on; what is missing then is held out of train by seed. Loss: cross-entropy. Metric: accuracy.

    Args:
        root: Folder with the ``.parquet`` files, their split in the name of file or folder, or of ``save_to_disk``.
        labels: Task to its column: of type ClassLabel, or whole numbers from 0; None and -1 mark an image without one.
        image: The column of the images, encoded as files.
        size: ``(height, width)`` in pixels; images are resized to it whole, whatever their shape.
        batch: Images a batch.
        seed: Of what is held out, the order and the augmentation.
        val_count: Training images held out to choose settings on, where needed.
        test_count: Training images held out for the final figures, where needed.
        workers: Processes that load; 0 loads in this one.
        augment: Zoom and mirror the training images at random.
        cache: Memory for decoded images, GiB. Parquet files must fit; those of ``save_to_disk`` need not.

    Raises:
        ImportError: If pyarrow is not installed.
        FileNotFoundError: If root or a file is missing or empty.
        ValueError: If a file is corrupt or lacks a column, a label is out of range, or an argument is.
    """
    found = _Found.at(root, labels, image)
    splits = _splits(found, size, seed, val_count, test_count)
    return make_data(
        splits,
        {task: classification(names) for task, names in found.names.items()},
        Loading(size, batch, seed, workers, augment, cache),
        classes=found.names,
    )


def hf_images_frames(
    *,
    root: str,
    labels: Mapping[str, str],
    image: str = "image",
    size: tuple[int, int] = (224, 224),
    seed: int = 0,
    val_count: int = 500,
    test_count: int = 500,
) -> dict[str, Dataset[Sample]]:
    """The images in ``train``, ``val`` and ``test``, decoded when asked for; arguments and errors as of :func:`hf_images`."""
    return _splits(_Found.at(root, labels, image), size, seed, val_count, test_count)


@dataclass(frozen=True)
class _Found:
    """What lies in root: the files of each split, the columns, the names of the classes of each task."""

    root: Path
    files: Mapping[str, list[Path]]
    image: str
    labels: Mapping[str, str]
    names: Mapping[str, tuple[str, ...]]

    @classmethod
    def at(cls, root: str, labels: Mapping[str, str], image: str) -> _Found:
        if not labels or "image" in labels:
            raise ValueError(
                f"labels={dict(labels)}; give at least one {{task: column}}, and call no task 'image'."
            )
        if not Path(root).exists():
            raise FileNotFoundError(f"root={root!r} does not exist; give the folder of the data set.")
        files = files_by_split(Path(root))
        first = of_split(files, ("train",), Path(root))[0]
        known = class_names(first)
        every = [file for some in files.values() for file in some]
        names = {task: known.get(c) or _numbered(values(every, c), c, first) for task, c in labels.items()}
        return cls(Path(root), files, image, labels, names)

    def frames(self, names: Sequence[str], size: tuple[int, int]) -> RowFrames:
        files = of_split(self.files, names, self.root)
        columns = {"image": (self.image, _image)} | {
            task: (column, partial(_label, classes=len(self.names[task])))
            for task, column in self.labels.items()
        }
        return RowFrames(files, columns, size)


def _splits(
    found: _Found, size: tuple[int, int], seed: int, val_count: int, test_count: int
) -> dict[str, Dataset[Sample]]:
    check_size(size)
    val, test = (bool(set(names) & found.files.keys()) for names in (_VAL, _TEST))
    splits: dict[str, Dataset[Sample]] = {"train": found.frames(("train",), size)}
    if test or val:
        splits["test"] = found.frames(_TEST if test else _VAL, size)
    else:
        train = splits["train"]
        learn, held = held_out(len(train), test_count, seed, "test_count")  # pyright: ignore[reportArgumentType]
        splits = {"train": Subset(train, learn), "test": Subset(train, held)}
    if test and val:
        return {**splits, "val": found.frames(_VAL, size)}
    return with_val(splits, val_count, seed)


def _numbered(labels: Sequence[Any], column: str, file: Path) -> tuple[str, ...]:
    """Names ``0``, ``1``, ... of the classes of a column of whole numbers."""
    given = [label for label in labels if label is not None]
    if not given or not all(isinstance(label, int) and label >= NONE for label in given):
        odd = next((x for x in given if not isinstance(x, int) or x < NONE), None)
        raise ValueError(
            f"{file.parent}: column {column!r} holds {repr(odd)[:40]}; it must be a ClassLabel or whole numbers from 0. Encode it, such as "
            "by datasets' class_encode_column."
        )
    return tuple(str(k) for k in range(max(2, max(given) + 1)))


def _image(cell: Any, place: str) -> Tensor:
    return image_field(decoded_image(cell, place), place)


def _label(cell: Any, place: str, classes: int) -> Tensor:
    label = NONE if cell is None else cell
    if not isinstance(label, int) or not NONE <= label < classes:
        raise ValueError(
            f"{place}: label {label!r}; with {classes} classes labels are 0 to {classes - 1}, or none. Mend the row."
        )
    return torch.tensor(int(label))
