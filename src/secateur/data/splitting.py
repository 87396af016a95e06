"""Which files are of which split, and which samples to hold out, drawn by the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset, Subset

from secateur.data.augment import Sample
from secateur.problem import check_count, is_count

VALIDATION = ("validation", "valid", "val", "dev")
SPLITS = ("train", *VALIDATION, "test")


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


def by_split(of: Mapping[Path, str | None]) -> dict[str, list[Path]]:
    """Files by their split; all are ``train`` where none is of a split.

    Raises:
        ValueError: If some are of none: they might be of any.
    """
    unknown = [path for path, split in of.items() if split is None]
    if unknown and len(unknown) < len(of):
        raise ValueError(
            f"{unknown[0]} is of no split that its name or folder tells, which is one of {', '.join(SPLITS)}; rename it, or "
            "move it away."
        )
    found: dict[str, list[Path]] = {}
    for path, split in of.items():
        found.setdefault(split or "train", []).append(path)
    return found


def is_tar(name: str) -> bool:
    """Whether a file so named would be a shard of WebDataset, compressed or not."""
    return name.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"))
