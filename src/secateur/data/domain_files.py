"""The files of visual domains: a folder of classes each, or packed archives."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch.utils.data import Dataset

from secateur.data.augment import Sample, resize

_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"}
_KFOLD = {"train": "_train_kfold.txt", "val": "_crossval_kfold.txt", "test": "_test_kfold.txt"}
Splits = Mapping[str, list[int]]


class Images(Dataset[Sample]):
    """The images of one domain: ``image`` float (3, H, W) in [0, 1] and ``label``, a scalar int64.

    Args:
        names: What errors call each image.
        labels: Class index of each.
        read: Index to the bytes or the path of an image file.
        classes: Their names.
        splits: train and test to indices.
        size: ``(height, width)``.
    """

    def __init__(
        self,
        names: Sequence[str],
        labels: Sequence[int],
        read: Callable[[int], io.BytesIO | Path],
        classes: Sequence[str],
        splits: Splits,
        size: tuple[int, int],
    ) -> None:
        self.names, self.labels, self.classes = names, labels, tuple(classes)
        self.splits, self._read, self._size = splits, read, size

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """The image at the size asked for; ValueError, naming it, if it is corrupt."""
        try:
            with Image.open(self._read(index)) as image:
                pixels = np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
            raise ValueError(
                f"{self.names[index]} is corrupt ({error}); copy it again or delete it."
            ) from error
        x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div_(255.0)
        return resize({"image": x, "label": torch.tensor(self.labels[index])}, self._size)


def read_domains(root: Path, size: tuple[int, int], test_share: float) -> dict[str, Images]:
    """Domain to its images, by what lies in ``root``.

    Raises:
        FileNotFoundError: If there are no domains, or one has no images or lacks listed ones.
        ValueError: If an archive is corrupt or a label has no class.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"root={str(root)!r} is no folder; give the one that holds a folder for each domain."
        )
    packed = sorted(root.glob("*_train.npz"))
    if packed:
        return {
            p.name.removesuffix("_train.npz"): _archive(root, p.name.removesuffix("_train.npz"), size)
            for p in packed
        }
    folders = [p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    if not folders:
        raise FileNotFoundError(
            f"root={str(root)!r} holds no domains: there must be a folder for each, or {{domain}}_train.npz archives."
        )
    return {p.name: _folder(root, p, size, test_share) for p in folders}


def _folder(root: Path, domain: Path, size: tuple[int, int], test_share: float) -> Images:
    parts = {split: domain / split for split in ("train", "test") if (domain / split).is_dir()}
    if len(parts) == 1:
        present = next(iter(parts))
        raise FileNotFoundError(
            f"{domain} has a folder {present}, but not the other of train and test; add it."
        )
    above = list(parts.values()) or [domain]
    classes = sorted(
        {p.name for folder in above for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")}
    )
    files: list[Path] = []
    labels: list[int] = []
    split_of: list[str] = []
    for folder in above:
        for label, name in enumerate(classes):
            inside = sorted(p for p in (folder / name).glob("*") if p.suffix.lower() in _ENDINGS)
            files += inside
            labels += [label] * len(inside)
            split_of += [folder.name if parts else _drawn(p.relative_to(root), test_share) for p in inside]
    if not files:
        raise FileNotFoundError(
            f"Domain {domain} has no images: it must hold a folder for each class with images inside."
        )
    empty = [str(p) for p in files if p.stat().st_size == 0]
    if empty:
        raise FileNotFoundError(
            f"{len(empty)} images of {domain} are empty: {', '.join(empty[:3])}; copy them again."
        )
    listed = {split: root / f"{domain.name}{ending}" for split, ending in _KFOLD.items()}
    if all(path.is_file() for path in listed.values()):
        split_of = _listed(root, listed, files)
    splits = {s: [i for i, own in enumerate(split_of) if own == s] for s in ("train", "test")}
    return Images([str(p) for p in files], labels, files.__getitem__, classes, splits, size)


def _listed(root: Path, lists: Mapping[str, Path], files: Sequence[Path]) -> list[str]:
    """The split of each file by the lists of PACS; its own validation images count as training ones here."""
    places = {path: index for index, path in enumerate(files)}
    found = [""] * len(files)
    for split, path in lists.items():
        for line in path.read_text(encoding="utf-8").split("\n"):
            if not line.strip():
                continue
            named = root / line.rsplit(" ", 1)[0]
            if named not in places:
                raise FileNotFoundError(
                    f"{path} lists {named}, which is absent; copy it or take the line off."
                )
            found[places[named]] = "train" if split == "val" else split
    return found


def _drawn(path: Path, test_share: float) -> str:
    """train or test by the hash of the path, the same on every machine."""
    number = int.from_bytes(hashlib.sha256(path.as_posix().encode()).digest()[:8], "big") / 2**64
    return "test" if number < test_share else "train"


def _archive(root: Path, domain: str, size: tuple[int, int]) -> Images:
    meta = root / "meta.json"
    if not meta.is_file():
        raise FileNotFoundError(
            f"{meta} is missing; it must give the names of the classes as {{'classes': [...]}}."
        )
    classes: list[str] = json.loads(meta.read_text(encoding="utf-8"))["classes"]
    streams: list[Any] = []
    labels: list[int] = []
    names: list[str] = []
    splits: dict[str, list[int]] = {}
    for split in ("train", "test"):
        path = root / f"{domain}_{split}.npz"
        try:
            with path.open("rb") as file, np.load(file) as archive:
                data, offset, label = (archive[key] for key in ("jpeg", "offset", "label"))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path} is missing; copy it again.") from error
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} cannot be read as an archive of jpeg, offset and label ({error}); copy it again."
            ) from error
        if len(offset) != len(label) + 1 or int(offset[-1]) > len(data):
            raise ValueError(
                f"{path}: {len(label)} labels, {len(offset)} offsets, {len(data)} bytes do not fit; copy it again."
            )
        if len(label) == 0:
            raise FileNotFoundError(f"{path} holds no images; copy it again or delete the domain's archives.")
        if int(label.max()) >= len(classes) or int(label.min()) < 0:
            raise ValueError(
                f"{path}: label {int(label.max())}, but {meta} names {len(classes)} classes; add its name."
            )
        splits[split] = list(range(len(labels), len(labels) + len(label)))
        streams += [data[a:b] for a, b in pairwise(offset)]
        labels += label.tolist()
        names += [f"{path}, image {i}" for i in range(len(label))]
    return Images(names, labels, lambda i: io.BytesIO(streams[i].tobytes()), classes, splits, size)
