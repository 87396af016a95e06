"""NYU-v2 as one ``.npz`` archive of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from secateur.data.augment import Sample, resize
from secateur.data.fields import (
    Array,
    Decode,
    depth_field,
    image_field,
    label_field,
    normal_field,
    plain_labels,
)
from secateur.data.reading import load_npz


class ArrayFrames(Dataset[Sample]):
    """Frames of one split of an archive that :func:`read_archive` has read.

    Args:
        path: Of the archive, for errors.
        split: ``train`` or ``test``.
        arrays: Of :func:`read_archive`.
        tasks: Fields to decode beside the image.
        size: ``(height, width)`` to resize to.
        classes: 13 or 40.
    """

    def __init__(
        self,
        path: Path,
        split: str,
        arrays: Mapping[str, Array],
        tasks: Sequence[str],
        size: tuple[int, int],
        classes: int,
    ) -> None:
        self.place, self.size = f"{path}, {split}", size
        self.arrays = {f: arrays[f"{split}_{_names(classes)[f]}"] for f in ("image", *tasks)}
        self.decode: dict[str, Decode] = {
            "image": image_field,
            "seg": partial(label_field, table=plain_labels(classes)),
            "normal": normal_field,
            "depth": partial(depth_field, unit=1000),
        }
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
        return resize(
            {f: self.decode[f](np.asarray(a[index]), f"{where}, {f}") for f, a in self.arrays.items()},
            self.size,
        )


def read_archive(path: Path, tasks: Sequence[str], classes: int) -> dict[str, Array]:
    """The arrays that ``tasks`` need.

    Raises:
        FileNotFoundError: If the archive is missing or empty.
        ValueError: If it is corrupt or lacks an array; names both.
    """
    fields = _names(classes)
    wanted = [f"{split}_{fields[field]}" for split in ("train", "test") for field in ("image", *tasks)]
    arrays = load_npz(path, wanted)
    lacking = [name for name in wanted if name not in arrays]
    if lacking:
        raise ValueError(
            f"{path} lacks the arrays {lacking}; choose other tasks or classes, or another archive."
        )
    return arrays


def _names(classes: int) -> dict[str, str]:
    return {"image": "rgb", "seg": f"seg{classes}", "normal": "normal_i8", "depth": "depth_mm"}
