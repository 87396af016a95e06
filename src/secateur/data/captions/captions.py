"""Captions of clips whose features lie in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.captions.clips import ClipSamples, clip_data
from secateur.data.captions.vocabulary import Vocabulary, check_least, words
from secateur.data.data import Data
from secateur.data.fields import Array
from secateur.data.lists import check_within, read_json
from secateur.data.reading import load_npy
from secateur.problem import check_count

_SPLITS = ("train", "val", "test")


class ClipFiles:
    """Clips as ``(name, caption)``, the features of each in ``folder/<name>.npy``.

    Args:
        folder: Of the files.
        clips: Names and captions.
        dim: Numbers a frame; 0 takes any.
    """

    def __init__(self, folder: Path, clips: Sequence[tuple[str, str]], dim: int = 0) -> None:
        self.folder, self.clips, self.dim = folder, clips, dim

    def __len__(self) -> int:
        return len(self.clips)

    def features(self, index: int) -> Tensor:
        """(frames, dim), float32.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If it is damaged, of another form, or a value is not finite; names it.
        """
        path = self.folder / f"{self.clips[index][0]}.npy"
        found = torch.from_numpy(_features(path, self.dim).astype(np.float32))
        if not bool(found.isfinite().all()):
            raise ValueError(
                f"{path} has values that are not finite; extract the features of this clip again."
            )
        return found

    def caption(self, index: int) -> str:
        """As the file has it."""
        return self.clips[index][1]


def captions(
    *,
    root: str,
    vocabulary: str | None = None,
    least: int = 3,
    frames: int | None = None,
    batch: int = 16,
    seed: int = 0,
) -> Data:
    """Captions of clips from features that were extracted before, such as those of YouCook II.

    ``root`` holds ``captions.json``, ``{"train": [{"clip": name, "caption": text}, ...], "val": [...], "test": [...]}``,
    and for each clip ``features/<name>.npy``, (frames, dim) floats. A clip may be listed several times.

    Args:
        root: The folder.
        vocabulary: File with one piece a line, such as BERT's ``vocab.txt``; the words of the training captions if None.
        least: Without a file: how often a word must occur to be a piece of its own; rarer ones are spelt.
        frames: Most frames of a clip; of longer ones so many are taken, evenly spaced. None takes all.
        batch: Clips a batch.
        seed: Of their order.

    Raises:
        FileNotFoundError: If the folder, the list, the vocabulary or a clip is not there.
        ValueError: If a number is out of range, or the list or a file is not of this form.
    """
    if vocabulary is None:
        check_least(least)
    for name, value, smallest in (
        ("frames", 1 if frames is None else frames, 1),
        ("batch", batch, 1),
        ("seed", seed, 0),
    ):
        check_count(f"{name}=", value, smallest)
    folder = Path(root)
    listed = _listed(folder / "captions.json")
    longest, dim = _check_files(folder / "features", [name for clips in listed.values() for name, _ in clips])
    known = (
        Vocabulary.of((caption for _, caption in listed["train"]), least)
        if vocabulary is None
        else Vocabulary.read(vocabulary)
    )
    splits = {split: ClipFiles(folder / "features", clips, dim) for split, clips in listed.items()}
    return clip_data(
        splits, known, frames=longest if frames is None else min(frames, longest), batch=batch, seed=seed
    )


def captions_frames(*, root: str) -> dict[str, Dataset[Sample]]:
    """The clips of each split, read when asked for; arguments and errors as of :func:`captions`."""
    folder = Path(root)
    listed = _listed(folder / "captions.json")
    features = folder / "features"
    dim = _usual_dim(features, [name for clips in listed.values() for name, _ in clips])
    return {split: ClipSamples(ClipFiles(features, clips, dim)) for split, clips in listed.items()}


def _listed(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Split to names and captions.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is not of the form; the message names the entry.
    """
    found: Any = read_json(path, f"it lists the clips and captions of {', '.join(_SPLITS)}")
    lists: dict[str, Any] = {s: found.get(s) if isinstance(found, dict) else None for s in _SPLITS}
    missing = [split for split, clips in lists.items() if not isinstance(clips, list) or not clips]
    if missing:
        raise ValueError(f'{path}: no clips for {missing}; give {{"{missing[0]}": [...]}}.')
    return {split: [_entry(path, split, i, e) for i, e in enumerate(clips)] for split, clips in lists.items()}


def _entry(path: Path, split: str, index: int, entry: Any) -> tuple[str, str]:
    where = f"{path}: {split}[{index}]"
    if not isinstance(entry, dict) or not all(isinstance(entry.get(k), str) for k in ("clip", "caption")):
        raise ValueError(f'{where} is {entry!r}; give {{"clip": name, "caption": text}}.')
    clip, caption = cast(dict[str, str], entry)["clip"], cast(dict[str, str], entry)["caption"]
    check_within(path, clip)
    if not words(caption):
        raise ValueError(f"{where}, clip {clip!r}, has a caption without a word: {caption!r}; leave it out.")
    return clip, caption


def _check_files(folder: Path, names: Sequence[str]) -> tuple[int, int]:
    """Reads the head of every file; the frames of the longest, and the numbers a frame.

    Raises:
        FileNotFoundError: If some are not there.
        ValueError: If one is not (frames, dim), or has another dim than the first.
    """
    names = list(dict.fromkeys(names))
    absent = [name for name in names if not (folder / f"{name}.npy").is_file()]
    if absent:
        raise FileNotFoundError(
            f"{folder}: no features of {len(absent)} of the {len(names)} clips that captions.json lists, such as "
            f"{', '.join(f'{name}.npy' for name in absent[:3])}; extract them, or leave the clips out."
        )
    longest, dim = 0, 0
    for name in names:
        frames, dim = _features(folder / f"{name}.npy", dim).shape
        longest = max(longest, frames)
    return longest, dim


def _usual_dim(folder: Path, names: Sequence[str]) -> int:
    """The numbers a frame of the first clip that can be read; 0 if none can."""
    for name in names:
        try:
            return _features(folder / f"{name}.npy").shape[1]
        except (ValueError, OSError):
            continue
    return 0


def _features(path: Path, dim: int = 0) -> Array:
    """The features of one clip, (frames, dim) floats, still on disk.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or not of this form; ``dim`` 0 is any.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; extract the features of this clip, or leave it out.")
    try:
        found = load_npy(path, mapped=True)
    except Exception as error:  # a flipped bit makes numpy raise what it likes
        raise ValueError(f"{path} is no readable .npy file ({error}); write it again.") from error
    shape = found.shape
    if found.dtype.kind != "f" or len(shape) != 2 or 0 in shape or (dim and shape[1] != dim):
        wanted = f"(frames, {dim}), as those before it" if dim else "(frames, dim)"
        raise ValueError(f"{path} is {found.dtype} {shape}; it must be floats of {wanted}, not empty.")
    return found
