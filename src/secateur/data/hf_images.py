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
from secateur.data.rows import DecodeCell, RowFrames
from secateur.data.splitting import VALIDATION, check_size, held_out, is_tar, with_val
from secateur.data.streams.aside import set_aside
from secateur.data.streams.finding import check_no_tars, shards_by_split, shards_of
from secateur.data.streams.streamed import Streamed

_TEST = ("test",)
_BUFFER = 1000
_MOST = 2**20  # classes; more are numbers of something else


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
    stream: bool | None = None,
    buffer: int | None = None,
    classes: Mapping[str, int] | None = None,
) -> Data:
    """Images and labels from Parquet files, from what ``datasets.save_to_disk`` wrote, or from shards of WebDataset.

    Each task is a classification.

    Splits: ``train``, ``validation`` and ``test`` where there are all three. Without ``test`` it is the validation that
    is tested on; what is missing then is held out of train by seed. Loss: cross-entropy. Metric: accuracy.

    Args:
        root: Folder with the ``.parquet`` files, their split in the name of file or folder, or of ``save_to_disk``.
        labels: Task to its column: of type ClassLabel, or whole numbers from 0; None and -1 mark an image without one. In a tar
            the ending of a file, such as cls, or json.KEY.
        image: The column of the images, encoded as files; in a tar their ending, or image for any.
        size: ``(height, width)`` in pixels; images are resized to it whole, whatever their shape.
        batch: Images a batch.
        seed: Of what is held out, the order and the augmentation.
        val_count: Training images held out to choose settings on, where needed.
        test_count: Training images held out for the final figures, where needed.
        workers: Processes that load; 0 loads in this one.
        augment: Zoom and mirror the training images at random.
        cache: Memory for decoded images, GiB. Parquet files must fit; those of ``save_to_disk`` need not. A stream keeps none.
        stream: Read the files from beginning to end, in an order drawn by seed, decoding each image as it is used;
            not if left out.
        buffer: Images of a stream that are shuffled together, held in memory as they are encoded; 1000 if left out.
        classes: Task to its number of classes, where its column does not name them; tar files need it.

    Raises:
        ImportError: If pyarrow, or what streams, is not installed.
        FileNotFoundError: If root or a file is missing or empty.
        ValueError: If a file is corrupt or lacks a column, a label is out of range, or an argument is.
    """
    found = _Found.at(root, labels, image, bool(stream), classes)
    splits = _splits(found, size, seed, val_count, test_count, _BUFFER if buffer is None else buffer)
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
    stream: bool | None = None,
    buffer: int | None = None,
    classes: Mapping[str, int] | None = None,
) -> dict[str, Dataset[Sample]]:
    """The images in ``train``, ``val`` and ``test``, decoded when asked for; arguments and errors as of :func:`hf_images`."""
    found = _Found.at(root, labels, image, bool(stream), classes)
    return _splits(found, size, seed, val_count, test_count, _BUFFER if buffer is None else buffer)


@dataclass(frozen=True)
class _Found:
    """What lies in root: the files of each split, the columns, the names of the classes of each task."""

    root: Path
    files: Mapping[str, list[Path]]
    image: str
    labels: Mapping[str, str]
    names: Mapping[str, tuple[str, ...]]
    stream: bool

    @classmethod
    def at(
        cls,
        root: str,
        labels: Mapping[str, str],
        image: str,
        stream: bool,
        classes: Mapping[str, int] | None,
    ) -> _Found:
        if not labels or "image" in labels:
            raise ValueError(
                f"labels={dict(labels)}; give at least one {{task: column}}, and call no task 'image'."
            )
        if not Path(root).exists():
            raise FileNotFoundError(f"root={root!r} does not exist; give the folder of the data set.")
        if not stream:
            check_no_tars(Path(root))
        files = (shards_by_split if stream else files_by_split)(Path(root))
        first = of_split(files, ("train",), Path(root))[0]
        known = {} if is_tar(first.name) else class_names(first)
        said = _counted(classes or {}, labels, known)
        every = [file for some in files.values() for file in some]
        names = {
            task: known.get(c) or said.get(task) or _numbered(every, c, task) for task, c in labels.items()
        }
        return cls(Path(root), files, image, labels, names, stream)

    @property
    def columns(self) -> dict[str, tuple[str, DecodeCell]]:
        """Field of a sample to its column and what decodes it."""
        return {"image": (self.image, _image)} | {
            task: (column, partial(_label, classes=len(self.names[task])))
            for task, column in self.labels.items()
        }

    def frames(self, names: Sequence[str], size: tuple[int, int]) -> RowFrames:
        return RowFrames(of_split(self.files, names, self.root), self.columns, size)

    def streamed(self, names: Sequence[str], size: tuple[int, int], buffer: int) -> Streamed:
        files, columns = of_split(self.files, names, self.root), self.columns
        shards = shards_of(files, [column for column, _ in columns.values()])
        return Streamed(shards, columns, size, buffer=buffer)


def _splits(
    found: _Found, size: tuple[int, int], seed: int, val_count: int, test_count: int, buffer: int
) -> dict[str, Dataset[Sample]]:
    check_size(size)
    val, test = (bool(set(names) & found.files.keys()) for names in (VALIDATION, _TEST))
    if found.stream:
        read = partial(found.streamed, size=size, buffer=buffer)
        given = {"test": read(_TEST if test else VALIDATION)} if test or val else {}
        given |= {"val": read(VALIDATION)} if test and val else {}
        counts = {split: n for split, n in (("test", test_count), ("val", val_count)) if split not in given}
        return {**set_aside(read(("train",)), counts, seed), **given}
    splits: dict[str, Dataset[Sample]] = {"train": found.frames(("train",), size)}
    if test or val:
        splits["test"] = found.frames(_TEST if test else VALIDATION, size)
    else:
        train = splits["train"]
        learn, held = held_out(len(train), test_count, seed, "test_count")  # pyright: ignore[reportArgumentType]
        splits = {"train": Subset(train, learn), "test": Subset(train, held)}
    if test and val:
        return {**splits, "val": found.frames(VALIDATION, size)}
    return with_val(splits, val_count, seed)


def _counted(
    classes: Mapping[str, int], labels: Mapping[str, str], known: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Names ``0``, ``1``, ... of the classes of those tasks whose number of classes is said."""
    for task, count in classes.items():
        names = known.get(labels.get(task, ""), ())
        whole = type(count) is int and 2 <= count <= _MOST
        if task not in labels or not whole or (names and len(names) != count):
            raise ValueError(
                f"classes={dict(classes)}: {task!r} must be one of the tasks {list(labels)} and have 2 to {_MOST} classes"
                f"{f', and its column names {len(names)}' if names else ''}; mend or leave it out."
            )
    return {task: tuple(map(str, range(count))) for task, count in classes.items()}


def _numbered(files: Sequence[Path], column: str, task: str) -> tuple[str, ...]:
    """Names ``0``, ``1``, ... of the classes of a column of whole numbers."""
    file = files[0]
    if is_tar(file.name):
        raise ValueError(
            f"{file.parent}: tar shards do not say how many classes task {task!r} has; give classes, such as {{{task}: 1000}}."
        )
    labels = values(files, column)
    given = [label for label in labels if label is not None]
    odd = next((x for x in given if not isinstance(x, int) or not NONE <= x < _MOST), None)
    if not given or odd is not None:
        raise ValueError(
            f"{file.parent}: column {column!r} holds {repr(odd)[:40]}; it must be a ClassLabel or whole numbers from 0, below {_MOST}. Encode it, such as "
            "by datasets' class_encode_column."
        )
    return tuple(str(k) for k in range(max(2, max(given) + 1)))


def _image(cell: Any, place: str) -> Tensor:
    return image_field(decoded_image(cell, place), place)


def _label(cell: Any, place: str, classes: int) -> Tensor:
    label = NONE if cell is None else cell
    if not isinstance(label, int) or not NONE <= label < classes:
        raise ValueError(
            f"{place}: label {repr(label)[:40]}; with {classes} classes labels are 0 to {classes - 1}, or none. Mend the row."
        )
    return torch.tensor(int(label))
