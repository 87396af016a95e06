"""The files of visual domains: a folder of classes each, or packed archives."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from secateur.data.augment import Sample, resize
from secateur.data.domains.archives import PACKED, read_archives
from secateur.data.domains.lists import listed_splits
from secateur.data.reading import folders_in, holds_something, is_apart, rgb

_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"}
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
        """The image at the size asked for, upright; ValueError, naming it, if it is corrupt or has more than 8 bits."""
        pixels = rgb(self._read(index), self.names[index], upright=True)
        x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div_(255.0)
        return resize({"image": x, "label": torch.tensor(self.labels[index])}, self._size)


def domain_names(root: Path) -> list[str]:
    """The domains that lie in ``root``; nothing of them is read.

    Raises:
        FileNotFoundError: If there are none.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"root={str(root)!r} is no folder; give the one that holds a folder for each domain."
        )
    endings = PACKED.values()
    there = {p.name for ending in endings for p in root.glob(f"*{ending}") if not is_apart(p.name)}
    packed = {name.removesuffix(ending) for name in there for ending in endings if name.endswith(ending)}
    folders = {p.name for p in folders_in(root)}
    if not packed and not folders:
        raise FileNotFoundError(
            f"root={str(root)!r} holds no domains: there must be a folder for each, or {{domain}}_train.npz archives."
        )
    return sorted(packed or folders)


def read_domain(root: Path, domain: str, size: tuple[int, int], test_share: float) -> Images:
    """The images of one of :func:`domain_names`, by what lies in ``root``.

    Raises:
        FileNotFoundError: If it has no images, or lacks listed ones or an archive.
        ValueError: If a list or an archive is damaged, or a label has no class.
    """
    if any((root / f"{domain}{ending}").exists() for ending in PACKED.values()):
        found = read_archives(root, domain)
        return Images(found.names, found.labels, found.stream, found.classes, found.splits, size)
    return _folder(root, root / domain, size, test_share)


def _folder(root: Path, domain: Path, size: tuple[int, int], test_share: float) -> Images:
    inside = {p.name.lower(): p for p in folders_in(domain)}
    parts = {split: inside[split] for split in ("train", "test") if split in inside}
    parts = {
        split: folder for split, folder in parts.items() if folders_in(folder)
    }  # a class may be called so
    if len(parts) == 1:
        present = next(iter(parts))
        raise FileNotFoundError(
            f"{domain} has a folder {present}, but not the other of train and test; add it."
        )
    above = parts or {"": domain}
    classes = sorted({p.name for folder in above.values() for p in folders_in(folder)})
    files: list[Path] = []
    labels: list[int] = []
    split_of: list[str] = []
    for split, folder in above.items():
        for label, name in enumerate(classes):
            images = _images(folder / name)
            files += images
            labels += [label] * len(images)
            split_of += [split or _drawn(p.relative_to(root), test_share) for p in images]
    if not files:
        raise FileNotFoundError(
            f"Domain {domain} has no images: it must hold a folder for each class with images inside."
        )
    empty = [str(p) for p in files if not holds_something(p)]
    if empty:
        raise FileNotFoundError(
            f"{len(empty)} images of {domain} are empty, or links that lead nowhere: {', '.join(empty[:3])}; copy them again."
        )
    split_of = listed_splits(root, domain.name, files) or split_of
    splits = {s: [i for i, own in enumerate(split_of) if own == s] for s in ("train", "test")}
    return Images([str(p) for p in files], labels, files.__getitem__, classes, splits, size)


def _images(folder: Path) -> list[Path]:
    """Those of a class, which a split may lack."""
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(p for p in there if p.suffix.lower() in _ENDINGS and not is_apart(p.name))


def _drawn(path: Path, test_share: float) -> str:
    """train or test by the hash of the path, the same on every machine."""
    number = int.from_bytes(hashlib.sha256(path.as_posix().encode()).digest()[:8], "big") / 2**64
    return "test" if number < test_share else "train"
