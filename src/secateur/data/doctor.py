"""Is a copy of a data set complete and sane? Every sample is decoded once; what is wrong is named, and where."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.fields import IGNORE
from secateur.data.labels import NONE
from secateur.data.pictures import (
    depth_picture,
    label_picture,
    map_picture,
    normal_picture,
    segmentation_picture,
)
from secateur.data.streams.streamed import Streamed
from secateur.problem import preserved_rng

_SHOWN = 4  # samples of a split in the picture
_ALIKE = 0.002  # standard deviation of an image below which it shows nothing
_INVALID: Mapping[str, Callable[[Tensor], Tensor]] = {
    "seg": lambda x: x == IGNORE,
    "normal": lambda x: x.abs().sum(0) == 0,
    "depth": lambda x: x <= 0,
    "edge": lambda x: x < 0,
    "keypoint": lambda x: x < 0,
}
_PICTURES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "image": lambda x: (x * 255).round().byte().permute(1, 2, 0),
    "seg": segmentation_picture,
    "normal": normal_picture,
    "depth": depth_picture,
    "features": lambda x: map_picture(((x - x.min()) / (x.max() - x.min()).clamp(min=1e-12))[None]),
}


@dataclass
class Split:
    """What was found in one split.

    Args:
        samples: Number of them that could be read.
        sizes: Height and width to the number of images.
        invalid: Field to the share of its pixels that carry no target.
        classes: Field to the number of pixels, or of images, of each class.
        ranges: Field to its smallest and largest valid value.
        problems: Sentences that name sample or file.
        shown: The first samples, for the picture.
    """

    samples: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter[tuple[int, int]])
    invalid: dict[str, float] = field(default_factory=dict[str, float])
    classes: dict[str, Counter[int]] = field(default_factory=dict[str, Counter[int]])
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    problems: list[str] = field(default_factory=list[str])
    shown: list[Sample] = field(default_factory=list[Sample])


@preserved_rng()
def examine(splits: Mapping[str, Dataset[Sample]], threads: int = 2) -> dict[str, Split]:
    """Reads every sample of every split.

    Args:
        splits: Name to samples; the last word of a name says what it is for, and no image may serve two of train, val and test.
        threads: Samples decoded at a time.

    Returns:
        What was found; nothing is raised for a sample that cannot be read, it is a problem of its split.
    """
    found: dict[str, Split] = {}
    seen: dict[bytes, str] = {}
    for name, samples in splits.items():
        split = found[name] = Split()
        for index, sample, error in _read(samples, threads):
            if sample is None:
                split.problems.append(f"{name} {index}: {error}")
                continue
            _count(split, sample, f"{name} {index}")
            mark = hashlib.sha256(_input(sample).numpy().tobytes()).digest()
            other = seen.setdefault(mark, name)
            if other.split()[-1] != name.split()[-1]:
                split.problems.append(
                    f"{name} {index}: the same input is in {other} too; figures on it would be too good. Take one of them out."
                )
        for key, counts in split.classes.items() if name.endswith("train") else ():
            absent = sorted(set(range(max(counts, default=0))) - set(counts))
            if absent:
                split.problems.append(f"{name}: no {key} of class {', '.join(map(str, absent))}.")
    return found


def picture(found: Mapping[str, Split], path: Path) -> Path:
    """The first samples of each split as a PNG, a column for each and a row for each field."""
    rows: list[Tensor] = []
    for split in found.values():
        for key in split.shown[0] if split.shown else ():
            size = _input(split.shown[0]).shape[-2:]
            tiles = [_tile(key, sample[key], size) for sample in split.shown]
            tiles += [torch.zeros_like(tiles[0])] * (_SHOWN - len(tiles))
            rows.append(torch.cat(tiles, 1))
    if not rows:
        raise ValueError("No sample could be read, so there is nothing to show.")
    wide = max(row.shape[1] for row in rows)
    sheet = torch.cat([torch.nn.functional.pad(row, (0, 0, 0, wide - row.shape[1])) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    try:
        Image.fromarray(sheet.numpy()).save(aside, format="PNG")
        return aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _read(samples: Dataset[Sample], threads: int) -> Iterator[tuple[int, Sample | None, Exception | None]]:
    if isinstance(samples, Streamed):
        for index, read in enumerate(samples.each()):
            yield _tried(index, read)
        return

    def one(index: int) -> tuple[int, Sample | None, Exception | None]:
        return _tried(index, lambda: samples[index])

    indices = iter(range(len(samples)))  # pyright: ignore[reportArgumentType]
    with ThreadPoolExecutor(threads) as pool:
        while chunk := list(islice(indices, 64)):  # so that no more than these are in memory
            yield from pool.map(one, chunk)


def _tried(index: int, read: Callable[[], Sample]) -> tuple[int, Sample | None, Exception | None]:
    try:
        return index, read(), None
    except (ValueError, OSError, KeyError) as error:
        return index, None, error


def _count(split: Split, sample: Sample, where: str) -> None:
    image = _input(sample)
    split.sizes[(image.shape[-2], image.shape[-1])] += 1
    if "image" in sample and float(image.std()) < _ALIKE:
        split.problems.append(f"{where}: the image is of one colour.")
    for key, x in sample.items():
        if x is image:
            continue
        if x.is_floating_point() and not bool(x.isfinite().all()):
            split.problems.append(f"{where}: {key} holds NaN or infinite values.")
            continue
        invalid = _invalid(key, x)
        share = float(invalid.float().mean())
        if share == 1.0 and x.dim():
            split.problems.append(f"{where}: {key} has no valid pixel.")
        before = split.invalid.get(key, 0.0)
        split.invalid[key] = before + (share - before) / (split.samples + 1)
        valid = x[..., ~invalid] if key == "normal" and x.dim() else x[~invalid]
        if not x.is_floating_point():
            counts = torch.bincount(valid.flatten().long()) if valid.numel() else torch.zeros(0)
            own = split.classes.setdefault(key, Counter())
            own.update({label: int(n) for label, n in enumerate(counts.tolist()) if n})
        elif valid.numel():
            low, high = split.ranges.get(key, (float("inf"), -float("inf")))
            split.ranges[key] = min(low, float(valid.min())), max(high, float(valid.max()))
    split.samples += 1
    if len(split.shown) < _SHOWN:
        split.shown.append(sample)


def _invalid(key: str, x: Tensor) -> Tensor:
    """Where ``x`` carries no target; a label of the whole image is told by its shape, whatever its name."""
    if x.dim():
        return _INVALID[key](x) if key in _INVALID else torch.zeros(x.shape, dtype=torch.bool)
    return torch.zeros((), dtype=torch.bool) if x.is_floating_point() else x == NONE


def _input(sample: Sample) -> Tensor:
    """The image, or the features of a clip."""
    return sample["image"] if "image" in sample else sample["features"]


def _tile(key: str, x: Tensor, size: Sequence[int]) -> Tensor:
    """(H, W, 3) uint8 of one field."""
    shown = label_picture(f"{key} {x.item():g}") if not x.dim() else _PICTURES.get(key, map_picture)(x)
    fitted = Image.fromarray(shown.numpy()).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return torch.from_numpy(np.asarray(fitted).copy())
