"""``stories``: the built-in captions, clips of cooking drawn from a seed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.captions.clips import ClipSamples, clip_data
from secateur.data.captions.vocabulary import Vocabulary
from secateur.data.data import Data
from secateur.problem import check_count, is_number

_TABLE, _CLIP = 0, 1  # keeps the draws of the concepts apart from those of the clips
_SUBJECTS = ("woman", "man", "chef", "girl", "boy", "grandmother")
_VERBS = (  # the usual word and another for it
    ("cuts", "slices"), ("stirs", "mixes"), ("fries", "browns"), ("peels", "skins"), ("washes", "rinses"),
    ("boils", "cooks"), ("grates", "shreds"), ("adds", "puts in"), ("seasons", "salts"), ("mashes", "crushes"),
)  # fmt: skip
_OBJECTS = (
    "onions", "carrots", "potatoes", "tomatoes", "garlic", "beef", "chicken", "salmon", "shrimp", "rice",
    "noodles", "mushrooms", "peppers", "cheese", "eggs", "apples", "lemons", "beans", "spinach", "bacon",
)  # fmt: skip
_PLACES = ("kitchen", "garden", "restaurant", "pan", "bowl", "oven", "wok", "pot")
_ROLES = {"subject": _SUBJECTS, "verb": _VERBS, "object": _OBJECTS, "place": _PLACES}
_RARE = 0.25  # how often the other word stands for a verb
_SEEN = 0.6  # how often a part of the scene is in view in a frame
_LENGTHS = (3, 8)  # frames of an event
_SLOW = 6  # frames from which an event is slow


class Stories:
    """Clips ``first`` to ``first + count - 1`` of a seed; each is a pure function of (seed, index), kept once drawn.

    Somebody does one thing or two at a place. Every frame of an event is the sum of the vectors of those of its parts
    that are in view, and noise; that a verb has two words cannot be seen at all.

    Args:
        count: Number of clips.
        dim: Numbers a frame.
        noise: Standard deviation, where that of a part in view is a half.
        seed: Not negative.
        first: Index of the first clip, so that splits do not overlap.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, count: int, dim: int = 64, noise: float = 1.0, seed: int = 0, first: int = 0) -> None:
        for name, value, least in (
            ("count", count, 1),
            ("dim", dim, 1),
            ("seed", seed, 0),
            ("first", first, 0),
        ):
            check_count(f"Stories: {name}=", value, least)
        if not is_number(noise) or noise < 0:
            raise ValueError(f"Stories: noise={noise!r}; give a standard deviation, 0 or more.")
        self.count, self.dim, self.noise, self.seed, self.first = count, dim, noise, seed, first
        draw = np.random.default_rng((seed, _TABLE))
        self._drawn: dict[int, tuple[Tensor, str]] = {}
        self._vectors = {role: 0.5 * draw.standard_normal((len(of), dim)) for role, of in _ROLES.items()}

    def __len__(self) -> int:
        return self.count

    def features(self, index: int) -> Tensor:
        """(frames, dim), float32: 3 to 16 frames."""
        return self._clip(index)[0]

    def caption(self, index: int) -> str:
        """What happens, in English."""
        return self._clip(index)[1]

    def _clip(self, index: int) -> tuple[Tensor, str]:
        if not 0 <= index < self.count:
            raise IndexError(f"Stories: index {index} of {self.count} clips.")
        if index not in self._drawn:
            self._drawn[index] = self._draw(index)
        return self._drawn[index]

    def _draw(self, index: int) -> tuple[Tensor, str]:
        rng = np.random.default_rng((self.seed, _CLIP, self.first + index))
        subject, place = int(rng.integers(len(_SUBJECTS))), int(rng.integers(len(_PLACES)))
        frames: list[np.ndarray] = []
        said: list[str] = []
        for _ in range(int(rng.integers(1, 3))):
            verb, thing = int(rng.integers(len(_VERBS))), int(rng.integers(len(_OBJECTS)))
            length = int(rng.integers(_LENGTHS[0], _LENGTHS[1] + 1))
            parts = {"subject": subject, "verb": verb, "object": thing, "place": place}
            seen = rng.random((length, len(parts))) < _SEEN
            vectors = np.stack([self._vectors[role][number] for role, number in parts.items()])
            frames.append(seen @ vectors + self.noise * rng.standard_normal((length, self.dim)))
            word = _VERBS[verb][int(rng.random() < _RARE)]
            said.append(f"{'slowly ' if length >= _SLOW else ''}{word} the {_OBJECTS[thing]}")
        first, *then = said
        done = " and then ".join([f"the {_SUBJECTS[subject]} {first}", *then])
        caption = f"{done} in the {_PLACES[place]}"
        return torch.from_numpy(np.concatenate(frames).astype(np.float32)), caption


def stories(
    *,
    dim: int = 64,
    noise: float = 1.0,
    batch: int = 16,
    seed: int = 0,
    train_count: int = 2048,
    val_count: int = 128,
    test_count: int = 256,
) -> Data:
    """Clips of cooking with captions; needs no files, and the same seed gives the same bytes.

    Args:
        dim: Numbers a frame.
        noise: Standard deviation of each, where that of a part of the scene in view is a half.
        batch: Clips a batch.
        seed: Of the clips and their order.
        train_count: Training clips.
        val_count: Clips to choose settings on.
        test_count: Clips for the final figures.

    Raises:
        ValueError: If a number is out of range.
    """
    splits = _splits(dim, noise, seed, train_count, val_count, test_count)
    vocabulary = Vocabulary.of(splits["train"].caption(index) for index in range(train_count))
    return clip_data(splits, vocabulary, frames=2 * _LENGTHS[1], batch=batch, seed=seed)


def stories_frames(
    *,
    dim: int = 64,
    noise: float = 1.0,
    seed: int = 0,
    train_count: int = 2048,
    val_count: int = 128,
    test_count: int = 256,
) -> dict[str, Dataset[Sample]]:
    """The clips of each split, drawn when asked for; arguments and errors as of :func:`stories`."""
    found = _splits(dim, noise, seed, train_count, val_count, test_count)
    return {split: ClipSamples(clips) for split, clips in found.items()}


def _splits(dim: int, noise: float, seed: int, train: int, val: int, test: int) -> dict[str, Stories]:
    counts = {"train": train, "val": val, "test": test}
    for name, count in counts.items():
        check_count(f"{name}_count=", count)
    first = {"train": 0, "val": train, "test": train + val}
    return {split: Stories(n, dim, noise, seed, first=first[split]) for split, n in counts.items()}
