"""Domains packed into archives: ``{domain}_{train,test}.npz`` and ``meta.json``."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from secateur.data.fields import Array
from secateur.data.lists import read_json
from secateur.data.reading import load_npz

PACKED = {"train": "_train.npz", "test": "_test.npz"}
_ARRAYS = ("jpeg", "offset", "label")


@dataclass
class Archives:
    """The images of one domain as they lie in its archives, of train first.

    Args:
        classes: Their names.
        names: What errors call each image.
        labels: Class index of each.
        splits: train and test to indices.
        streams: The bytes of each image.
    """

    classes: tuple[str, ...]
    names: list[str] = field(default_factory=list[str])
    labels: list[int] = field(default_factory=list[int])
    splits: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    streams: list[Array] = field(default_factory=list[Array])

    def stream(self, index: int) -> io.BytesIO:
        """The image file."""
        return io.BytesIO(self.streams[index].tobytes())


def read_archives(root: Path, domain: str) -> Archives:
    """The archives of ``domain`` and the names of the classes.

    Raises:
        FileNotFoundError: If one of the files is missing, or holds no images.
        ValueError: If one is damaged, or a label has no class.
    """
    meta = root / "meta.json"
    found = Archives(_classes(meta))
    for split, ending in PACKED.items():
        path = root / f"{domain}{ending}"
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; copy it again.")
        arrays = load_npz(path, _ARRAYS)
        lacking = [name for name in _ARRAYS if name not in arrays]
        if lacking:
            raise ValueError(
                f"{path} lacks the arrays {lacking}; an archive needs jpeg, offset and label. Copy it again."
            )
        data, offset, label = (arrays[name] for name in _ARRAYS)
        if not _fit(data, offset, label):
            raise ValueError(
                f"{path}: labels {_form(label)}, offsets {_form(offset)} and bytes {_form(data)} do not fit; copy it again."
            )
        if len(label) == 0:
            raise FileNotFoundError(f"{path} holds no images; copy it again or delete the domain's archives.")
        wrong = label[(label < 0) | (label >= len(found.classes))]
        if wrong.size:
            raise ValueError(
                f"{path}: label {int(wrong[0])}, but {meta} names {len(found.classes)} classes, 0 to "
                f"{len(found.classes) - 1}; mend the label, or add its name."
            )
        found.splits[split] = list(range(len(found.labels), len(found.labels) + len(label)))
        found.streams += np.split(data[: int(offset[-1])], offset[1:-1])
        found.labels += label.tolist()
        found.names += [f"{path}, image {i}" for i in range(len(label))]
    return found


def _classes(meta: Path) -> tuple[str, ...]:
    content = read_json(meta, "it must give the names of the classes as {'classes': [...]}")
    names: Any = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{meta} must give the names of the classes, at least one, as {{'classes': [...]}}; mend the file."
        )
    return tuple(names)


def _fit(data: Array, offset: Array, label: Array) -> bool:
    """Whether each label has its bytes, from one offset to the next."""
    if not (data.dtype == np.uint8 and offset.dtype.kind in "iu" and label.dtype.kind in "iu"):
        return False
    if not (data.ndim == offset.ndim == label.ndim == 1 and len(offset) == len(label) + 1):
        return False
    ends = offset.astype(np.int64)
    return bool(ends[0] == 0 and ends[-1] <= len(data) and (np.diff(ends) >= 0).all())


def _form(array: Array) -> str:
    return f"{array.dtype}{list(array.shape)}"
