"""Samples in memory, decoded once and kept in few bytes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.augment import Sample

_STORED = {"image": torch.uint8, "seg": torch.uint8, "depth": torch.float32}  # any other field: float16


class Packed(Dataset[Sample]):
    """``samples``, each decoded at its first use and kept: 14 bytes a pixel for image, labels, normals and depth.

    What comes back is rounded to what is kept, at the first use as at every later one: the image to 1/255,
    normals, edges and keypoints to float16 (0.03 degrees); labels and depth are exact.

    Args:
        samples: A map-style data set of samples.
        fields: The fields to keep beside ``image``.
        keep: False decodes at every use, with the same rounding: what comes back does not depend on ``keep``.
    """

    def __init__(self, samples: Dataset[Sample], fields: Sequence[str], *, keep: bool = True) -> None:
        self._samples, self.keep = samples, keep
        self._fields = ("image", *fields)
        self._kept: list[Sample | None] = [None] * len(samples)  # pyright: ignore[reportArgumentType]

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Sample:
        """The sample with its own dtypes: float32, labels int64.

        Raises:
            KeyError: If it lacks one of the fields.
        """
        kept = self._kept[index]
        if kept is None:
            kept = self._pack(index)
            if self.keep:
                self._kept[index] = kept
        return {field: _unpacked(field, x) for field, x in kept.items()}

    def gibibytes(self) -> float:
        """Memory that all samples take once they are kept, taking the first for typical; GiB."""
        if not len(self):
            return 0.0
        first = self._kept[0] or self._pack(0)
        return len(self) * sum(x.nbytes for x in first.values()) / 2**30

    def fill(self, threads: int = 2) -> None:
        """Decodes all that is not yet decoded; errors come now, the one of the first sample first."""
        missing = [index for index, kept in enumerate(self._kept) if kept is None]
        with ThreadPoolExecutor(threads) as pool:
            for index, kept in zip(missing, pool.map(self._pack, missing), strict=True):
                self._kept[index] = kept

    def _pack(self, index: int) -> Sample:
        sample = self._samples[index]
        lacking = [field for field in self._fields if field not in sample]
        if lacking:
            raise KeyError(
                f"Sample {index} lacks {lacking}; it has {sorted(sample)}. Ask for tasks that it has."
            )
        return {field: _packed(field, sample[field]) for field in self._fields}


def keep_what_fits(sets: Sequence[Packed], cache: float, workers: int) -> float:
    """Keeps all samples in memory, decoded now, if ``cache`` GiB hold them; otherwise each is decoded at every use.

    Args:
        sets: All that share the memory.
        cache: GiB.
        workers: Processes that load later; at least two threads decode now.

    Returns:
        The memory that all take, GiB.

    Raises:
        ValueError: If ``cache`` is negative or no number, or a sample that is decoded is damaged.
        FileNotFoundError: If the file of such a sample is missing.
    """
    check_cache(cache)
    needed = sum(samples.gibibytes() for samples in sets)
    for samples in sets:
        samples.keep = needed <= cache
        if samples.keep:
            samples.fill(max(2, workers))
    return needed


def check_cache(cache: float) -> None:
    """Raises ValueError if it is no number of at least 0; without end all samples fit."""
    if isinstance(cache, bool) or not cache >= 0:
        raise ValueError(f"cache={cache}; give the memory for decoded samples in GiB, 0 or more.")


def rounded(sample: Sample) -> Sample:
    """``sample`` with the rounding of :class:`Packed`."""
    return {field: _unpacked(field, _packed(field, x)) for field, x in sample.items()}


def _packed(field: str, x: Tensor) -> Tensor:
    if not x.dim():  # a label of the whole image
        return x.clone()
    stored = _STORED.get(field, torch.float16)
    if field == "image":
        x = (x.clamp(0.0, 1.0) * 255.0).round()
    elif stored == torch.uint8 and bool(((x < 0) | (x > 255)).any()):
        raise ValueError(
            f"Labels of {field!r} span {int(x.min())} to {int(x.max())}; they must lie in 0 to 255."
        )
    return x.to(stored, copy=True)


def _unpacked(field: str, x: Tensor) -> Tensor:
    """A copy, so that what is kept cannot be changed from outside."""
    if field == "image":
        return x.to(torch.float32).div_(255.0)
    if not x.dim():
        return x.clone()
    return x.to(torch.int64 if x.dtype == torch.uint8 else torch.float32, copy=True)
