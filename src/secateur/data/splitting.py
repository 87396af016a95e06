"""Which files are of which split, and which samples to hold out, drawn by the seed."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset, Subset

from secateur.data.augment import Sample
from secateur.problem import check_count, is_count

VALIDATION = ("validation",)
WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""What tells a split in a name, to the split: the words of Hugging Face's ``datasets``."""


class TooFewError(ValueError):
    """More samples are to be held out than there are.

    Args:
        name: Of the argument that says how many.
        count: Its value.
        samples: How many there are.
    """

    def __init__(self, name: str, count: int, samples: int) -> None:
        super().__init__(
            f"{name}={count}, but there are {samples} training frames; give between 1 and {samples - 1}."
        )
        self.name, self.count, self.samples = name, count, samples


def check_seed(seed: int) -> None:
    """Raises ValueError unless ``seed`` is one that NumPy draws by."""
    check_count("seed=", seed, 0)


def held_out(samples: int, count: int, seed: int, name: str = "val_count") -> tuple[list[int], list[int]]:
    """Indices to learn from and, drawn by ``seed``, ``count`` held out; both ascending.

    Raises:
        TooFewError: If ``count``, which is called ``name``, is below 1 or leaves nothing to learn from.
        ValueError: If ``seed`` is negative.
    """
    check_seed(seed)
    if not is_count(count) or count >= samples:
        raise TooFewError(name, count, samples)
    order = np.random.default_rng((seed, samples)).permutation(samples)
    return sorted(order[count:].tolist()), sorted(order[:count].tolist())


def with_val(splits: Mapping[str, Dataset[Sample]], val_count: int, seed: int) -> dict[str, Dataset[Sample]]:
    """``splits`` with ``val``: ``val_count`` samples of ``train``, drawn by ``seed``, which leave it.

    Raises:
        TooFewError: If ``val_count`` is below 1 or leaves nothing to learn from.
    """
    train = splits["train"]
    learn, held = held_out(len(train), val_count, seed)  # pyright: ignore[reportArgumentType]
    return {**splits, "train": Subset(train, learn), "val": Subset(train, held)}


def shares(samples: int, parts: Sequence[float], seed: int) -> list[list[int]]:
    """Indices, ascending, of one part for each of ``parts``: shares of the samples that add up to 1.

    Raises:
        ValueError: If ``seed`` is negative.
    """
    check_seed(seed)
    order = np.random.default_rng((seed, samples)).permutation(samples)
    ends = np.rint(np.cumsum(parts) * samples).astype(np.int64)
    return [sorted(part.tolist()) for part in np.split(order, ends[:-1])]


def check_size(size: tuple[int, int]) -> None:
    """Raises ValueError unless ``size`` is ``(height, width)``, both at least 1."""
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size={size}; give (height, width) in pixels, such as (120, 160).")


def by_split(files: Sequence[Path], root: Path) -> dict[str, list[Path]]:
    """Files under ``root`` by their split: ``train``, ``validation`` or ``test``; all are ``train`` where none is of a split.

    Raises:
        ValueError: If some are of none, as they might be of any, or those of one split lie in folders of several data sets: of
            names that differ in more than numbers, or with files that are called the same.

    Warns:
        UserWarning: If all are taken for training, and their names differ in more than numbers, or a file of training is of
            another split too, by a link.
    """
    of = {path: split_of(path.relative_to(root)) for path in files}
    unknown = [path for path, split in of.items() if split is None]
    if unknown and len(unknown) < len(of):
        raise ValueError(
            f"{unknown[0]} is of no split that its name or folder tells, which is one of {', '.join(WORDS)}; rename it, or "
            "move it away."
        )
    found: dict[str, list[Path]] = {}
    places: dict[str, dict[Path, list[Path]]] = {}
    for path, split in of.items():
        found.setdefault(split or "train", []).append(path)
        place = _place(path.relative_to(root), split)
        places.setdefault(split or "train", {}).setdefault(place, []).append(path)
    for split, held in places.items():
        if len(held) > 1 and not _are_parts(held):
            first = [paths[0] for paths in held.values()]
            raise ValueError(
                f"{first[0]} and {first[1]} would both be {split}, but lie in folders of their own, as several data sets do; give the folder "
                f"of one, or put all of {split} into one folder {split}."
            )
    _check_apart(found)
    if len({re.sub(r"\d+", "0", path.name) for path in unknown}) > 1:
        warnings.warn(
            f"No name of a file or folder tells a split ({', '.join(WORDS)}), so all {len(unknown)} files are training: "
            f"{', '.join(path.name for path in unknown[:3])}{' and more' if len(unknown) > 3 else ''}.",
            stacklevel=2,
        )
    return found


def split_of(path: Path) -> str | None:
    """train, validation or test as a word in a file's name tells it, or else in the name of the nearest folder; None if none does.

    Case does not matter. A name with words of several splits tells nothing.

    Args:
        path: Relative to the folder of the data.
    """
    folders = path.parts[-2::-1]
    alone = (WORDS.get(name.lower()) for name in folders)
    return (
        _told(path.name) or next(filter(None, alone), None) or next(filter(None, map(_told, folders)), None)
    )


def _are_parts(places: Mapping[Path, Sequence[Path]]) -> bool:
    """Whether folders are numbered parts of one data set: their names differ in digits alone, and no two files are called the same."""
    names = Counter(name for paths in places.values() for name in {path.name for path in paths})
    alike = {re.sub(r"\d+", "0", place.as_posix()) for place in places}
    return len(alike) == 1 and max(names.values()) == 1


def _check_apart(found: Mapping[str, Sequence[Path]]) -> None:
    learnt = {path.resolve(): path for path in found.get("train", ())}
    for split, paths in found.items():
        if split != "train" and (both := [path for path in paths if path.resolve() in learnt]):
            warnings.warn(
                f"{learnt[both[0].resolve()]} and {both[0]} are one file, so what is learnt from is {split} too.",
                stacklevel=3,
            )


def _told(name: str) -> str | None:
    found = {WORDS[word] for word in re.split(r"[-_. \d]+", name.lower()) if word in WORDS}
    return found.pop() if len(found) == 1 else None


def _place(path: Path, split: str | None) -> Path:
    """The uppermost folder of the split, or else the one that the file is in."""
    named = [folder for folder in path.parents if folder.name and _told(folder.name) == split]
    return named[-1] if split and named else path.parent


def is_tar(name: str) -> bool:
    """Whether a file so named would be a shard of WebDataset, compressed or not."""
    return name.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"))
