"""The files of NYU-v2 as samples: a folder of images, or one archive of arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.augment import Sample, resize

Array = NDArray[np.generic]
IGNORE = 255


class FolderFrames(Dataset[Sample]):
    """Frames ``{folder}/{kind}/{name}.{jpg,png}``, decoded when asked for.

    Args:
        folder: Of one split.
        names: Of the frames, such as ``0003``.
        tasks: Fields to read beside the image.
        size: ``(height, width)`` to resize to.
        classes: 13 or 40.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], tasks: Sequence[str], size: tuple[int, int], classes: int
    ) -> None:
        self.folder, self.names, self.tasks, self.size, self.classes = folder, names, tasks, size, classes
        self.shape = _read(_file(folder, "image", names[0], classes)).shape[:2]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """The frame at ``size``.

        Raises:
            ValueError: If one of its files is corrupt, of another size than the first frame's image, of the wrong
                kind, or has a label out of range; names the file.
        """
        sample: dict[str, Tensor] = {}
        for field in ("image", *self.tasks):
            path = _file(self.folder, field, self.names[index], self.classes)
            array = _read(path)
            if array.shape[:2] != self.shape:
                raise ValueError(
                    f"{path} is {array.shape[1]}x{array.shape[0]} pixels, but the first frame's image is "
                    f"{self.shape[1]}x{self.shape[0]}; all frames must be of one size."
                )
            sample[field] = _decoded(field, array, str(path), self.classes)
        return resize(sample, self.size)


class ArrayFrames(Dataset[Sample]):
    """Frames of one split of an archive that :func:`read_archive` has read; arguments as of FolderFrames."""

    def __init__(
        self,
        path: Path,
        split: str,
        arrays: Mapping[str, Array],
        tasks: Sequence[str],
        size: tuple[int, int],
        classes: int,
    ) -> None:
        self.place, self.size, self.classes = f"{path}, {split}", size, classes
        self.arrays = {f: arrays[f"{split}_{_arrays(classes)[f]}"] for f in ("image", *tasks)}
        shape = self.arrays["image"].shape[:3]
        for field, array in self.arrays.items():
            if array.shape[:3] != shape:
                raise ValueError(
                    f"{self.place}: {field} has shape {array.shape}, but the image begins with {shape}."
                )

    def __len__(self) -> int:
        return len(self.arrays["image"])

    def __getitem__(self, index: int) -> Sample:
        """The frame at ``size``; ValueError, naming archive and frame, if a label is out of range."""
        where = f"{self.place} frame {index}"
        decoded = {
            f: _decoded(f, np.asarray(a[index]), f"{where}, {f}", self.classes)
            for f, a in self.arrays.items()
        }
        return resize(decoded, self.size)


def read_list(root: Path, split: str, tasks: Sequence[str], classes: int) -> list[str]:
    """Names in ``{root}/{split}.txt``, once every file they stand for is known to exist and to hold something.

    Raises:
        FileNotFoundError: If the list or files are missing or empty; counts them and names the first.
    """
    path = root / f"{split}.txt"
    names = path.read_text().split() if path.exists() else []
    if not names:
        raise FileNotFoundError(f"{path} is missing or empty; it must name the {split} frames, one a line.")
    files = [_file(root / split, field, name, classes) for name in names for field in ("image", *tasks)]
    absent = [file for file in files if not file.exists() or file.stat().st_size == 0]
    if absent:
        first = ", ".join(str(file) for file in absent[:3])
        raise FileNotFoundError(
            f"{len(absent)} of the {len(files)} files that {path} stands for are missing or empty: {first}"
            f"{', ...' if len(absent) > 3 else ''}. Copy the folder again, or take the frames off the list."
        )
    return names


def read_archive(path: Path, tasks: Sequence[str], classes: int) -> dict[str, Array]:
    """The arrays that ``tasks`` need.

    Raises:
        ValueError: If the archive is corrupt or lacks an array; names both.
    """
    fields = _arrays(classes)
    wanted = [f"{split}_{fields[field]}" for split in ("train", "test") for field in ("image", *tasks)]
    try:
        with path.open("rb") as file, np.load(file) as archive:
            lacking = [name for name in wanted if name not in archive]
            arrays = {name: archive[name] for name in wanted if name in archive}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as an .npz archive ({error}); copy it again.") from error
    if lacking:
        raise ValueError(
            f"{path} lacks the arrays {lacking}; choose other tasks or classes, or another archive."
        )
    return arrays


def _arrays(classes: int) -> dict[str, str]:
    return {"image": "rgb", "seg": f"seg{classes}", "normal": "normal_i8", "depth": "depth_mm"}


def _file(folder: Path, field: str, name: str, classes: int) -> Path:
    kind = {"image": "rgb", "seg": f"seg{classes}"}.get(field, field)
    return folder / kind / f"{name}.{'jpg' if field == 'image' else 'png'}"


def _read(path: Path) -> Array:
    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise ValueError(
            f"{path} is corrupt ({error}); copy it again or take the frame off the list."
        ) from error


def _decoded(field: str, array: Array, place: str, classes: int) -> Tensor:
    """One image or array, (H, W) or (H, W, 3), as the field of a sample; errors name ``place``."""
    channels = 3 if field in ("image", "normal") else 0
    if array.shape[2:] != ((3,) if channels else ()):
        kind = "8-bit RGB" if channels else "one channel"
        raise ValueError(f"{place}: shape {array.shape}; {field} must be {kind}.")
    if field == "seg":
        labels = array.astype(np.int64)
        wrong = labels[((labels < 0) | (labels >= classes)) & (labels != IGNORE)]
        if wrong.size:
            raise ValueError(
                f"{place}: label {wrong.max()}; with {classes} classes labels are 0 to {classes - 1}, or {IGNORE} to ignore."
            )
        return torch.as_tensor(labels)
    if field == "depth":
        if array.dtype.itemsize < 2:
            raise ValueError(f"{place}: {array.dtype}; depth must be 16-bit millimetres.")
        return torch.as_tensor(array.astype(np.float32))[None].div_(1000.0)
    x = torch.as_tensor(
        np.ascontiguousarray(array.transpose(2, 0, 1))
    )  # before the bytes become floats: faster
    if field == "image":
        return x.float().div_(255.0)
    return _unit(x.float().div_(127.0) if x.dtype == torch.int8 else x.float().div_(127.5).sub_(1.0))


def _unit(normal: Tensor) -> Tensor:
    """(3, H, W) to unit length; what is far from it (black, white: no normal) to zero."""
    length = normal.square().sum(0).sqrt_()
    scale = torch.where((length > 0.5) & (length < 1.5), 1.0 / length.clamp(min=0.5), 0.0)
    return normal * scale
