"""The files of visual domains: a folder of classes each, or packed archives."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from secateur.data.augment import Sample, resize
from secateur.data.domains.archives import PACKED, read_archives
from secateur.data.domains.lists import listed_splits
from secateur.data.reading import folders_in, holds_something, is_apart, rgb
from secateur.data.splitting import WORDS

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
        ValueError: If it holds the splits of a domain.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"root={str(root)!r} is no folder; give the one that holds a folder for each domain."
        )
    endings = PACKED.values()
    there = {p.name for ending in endings for p in root.glob(f"*{ending}") if not is_apart(p.name)}
    packed = {name.removesuffix(ending) for name in there for ending in endings if name.endswith(ending)}
    inside = folders_in(root)
    if not packed and len(inside) > 1 and all(map(_split, inside)):
        raise ValueError(
            f"root={str(root)!r} holds splits ({', '.join(p.name for p in inside)}), so it is a domain itself; give the folder above, "
            "which holds a folder for each domain."
        )
    folders = {p.name for p in inside}
    if not packed and not folders:
        raise FileNotFoundError(
            f"root={str(root)!r} holds no domains: there must be a folder for each, or {{domain}}_train.npz archives."
        )
    return sorted(packed or folders)


def read_domain(root: Path, domain: str, size: tuple[int, int], test_share: float) -> Images:
    """The images of one of :func:`domain_names`, by what lies in ``root``.

    Raises:
        FileNotFoundError: If it has no images, or lacks listed ones or an archive.
        ValueError: If a list or an archive is damaged, a label has no class, or a split no folder for each class, or two folders.
    """
    if any((root / f"{domain}{ending}").exists() for ending in PACKED.values()):
        found = read_archives(root, domain)
        return Images(found.names, found.labels, found.stream, found.classes, found.splits, size)
    return _folder(root, root / domain, size, test_share)


def _folder(root: Path, domain: Path, size: tuple[int, int], test_share: float) -> Images:
    parts = _parts(domain)
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


def _parts(domain: Path) -> dict[str, Path]:
    """The folders of train and test; none where the domain holds its classes itself, of which one may be called so."""
    folders = folders_in(domain)
    named = [path for path in folders if _split(path)]
    flat = [path for path in named if _images(path) and not folders_in(path)]
    if flat and len(named) == len(folders):
        raise ValueError(
            f"{flat[0]} holds images itself, and would be a class; a domain has a folder for each class: "
            f"{domain}/{{class}}/*.jpg or {domain}/{{train,test}}/{{class}}/*.jpg."
        )
    parts: dict[str, Path] = {}
    for path in named:
        if (split := _split(path)) == "validation" or not folders_in(path):
            continue
        if (other := parts.setdefault(split, path)) is not path:
            raise ValueError(f"{other} and {path} would both be {split}; put them into one folder.")
    if len(parts) == 1:
        present = next(iter(parts.values())).name
        raise FileNotFoundError(
            f"{domain} has a folder {present}, but not the other of train and test with a folder for each class; add it."
        )
    if parts and (left := [path.name for path in folders if path not in parts.values()]):
        warnings.warn(
            f"{domain}: of the folders beside train and test nothing is read: {', '.join(left[:3])}.",
            stacklevel=2,
        )
    return parts


def _split(folder: Path) -> str:
    """train, validation or test, where the folder is called so, in any case and with any number; empty where it is not."""
    return WORDS.get(folder.name.lower().strip("0123456789-_. "), "")


def _images(folder: Path) -> list[Path]:
    """Those of a class, which a split may lack."""
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(p for p in there if p.suffix.lower() in _ENDINGS and not is_apart(p.name))


def _drawn(path: Path, test_share: float) -> str:
    """train or test by the hash of the path, the same on every machine."""
    number = int.from_bytes(hashlib.sha256(path.as_posix().encode()).digest()[:8], "big") / 2**64
    return "test" if number < test_share else "train"
