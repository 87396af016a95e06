"""Loaders of clips with captions, and the words of a caption one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.captions.vocabulary import Vocabulary, words
from secateur.data.data import Data
from secateur.data.order import Epochs, Resumable, numbered
from secateur.measures import metrics
from secateur.problem import Batch, Input, Task, check_count

TASK = "caption"


class Clips(Protocol):
    """Clips with a caption each."""

    def __len__(self) -> int: ...

    def features(self, index: int) -> Tensor:
        """(frames, dim), float32."""
        ...

    def caption(self, index: int) -> str:
        """What is to be said."""
        ...


class ClipSamples(Dataset[Sample]):
    """Clips as samples: ``features`` (frames, dim) and ``words``, how many the caption has."""

    def __init__(self, clips: Clips) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Sample:
        """One clip; ValueError or OSError, naming the file, if it cannot be read."""
        said = float(len(words(self.clips.caption(index))))
        return {"features": self.clips.features(index), "words": torch.tensor(said)}


@dataclass(frozen=True, kw_only=True)
class ClipLoader(Resumable):
    """Batches ``({"features", "mask", "words"}, {"caption": target})``; batch k is a function of (seed, k) alone.

    ``features`` (N, F, dim) float, filled up with zeros; ``mask`` (N, F) bool, True at real frames; ``words`` (N, T)
    int64: the begin piece and the caption; the target (N, T) int64: the caption and the end piece. Both are filled up
    with the fill piece. F and T are the same for every batch.

    Args:
        clips: What is loaded.
        vocabulary: Of the captions.
        frames: F; of longer clips so many frames are taken, evenly spaced.
        length: T, at least one more than the pieces of the longest caption.
        batch: Clips a batch.
        seed: Not negative.
        shuffle: As of :class:`~secateur.data.order.Epochs`.
        part: As ``share`` of :class:`~secateur.data.order.Epochs`.

    Raises:
        ValueError: If a number is out of range, or the clips do not fill one batch.
    """

    clips: Clips
    vocabulary: Vocabulary
    frames: int
    length: int
    batch: int
    seed: int = 0
    shuffle: bool = False
    part: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        check_count("frames=", self.frames)
        _ = self._epochs  # raises what is wrong with it

    @cached_property
    def _epochs(self) -> Epochs:
        return Epochs(len(self.clips), self.batch, self.seed, self.shuffle, self.part)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._epochs)

    def share(self, rank: int, world: int) -> Self:
        """See :class:`~secateur.data.order.Resumable`."""
        return replace(self, part=(rank, world))

    def _batches(self, start: int, stop: int | None) -> Iterator[Batch]:
        for _, chosen in self._epochs.batches(numbered(start, stop)):
            yield self._batch([index for _, index in chosen])

    def _batch(self, chosen: list[int]) -> Batch:
        vocabulary = self.vocabulary
        clips = [self._sampled(self.clips.features(index)) for index in chosen]
        features = torch.zeros(len(chosen), self.frames, clips[0].shape[-1])
        mask = torch.zeros(len(chosen), self.frames, dtype=torch.bool)
        words = torch.full((len(chosen), self.length), vocabulary.pad)
        target = words.clone()
        for row, (index, clip) in enumerate(zip(chosen, clips, strict=True)):
            features[row, : len(clip)] = clip
            mask[row, : len(clip)] = True
            said = self._said[index]
            words[row, : len(said) + 1] = torch.tensor([vocabulary.begin, *said])
            target[row, : len(said) + 1] = torch.tensor([*said, vocabulary.end])
        return {"features": features, "mask": mask, "words": words}, {TASK: target}

    def _sampled(self, clip: Tensor) -> Tensor:
        if len(clip) <= self.frames:
            return clip
        return clip[torch.linspace(0, len(clip) - 1, self.frames).round().long()]

    @cached_property
    def _said(self) -> list[list[int]]:
        return [self.vocabulary.encode(self.clips.caption(index)) for index in range(len(self.clips))]


@dataclass(frozen=True)
class Greedy:
    """Captions decoded piece by piece, always the likeliest, by any model that takes ``words`` and gives logits.

    Args:
        begin: What stands before a caption.
        end: What ends it.
        pad: What stands after that.
        length: Most pieces, the end included.
    """

    begin: int
    end: int
    pad: int
    length: int

    def __call__(self, model: nn.Module, x: Input) -> Tensor:
        """Pieces (N, length), int64: the caption, the end piece where it came to that, and fill.

        Args:
            model: ``model({**x, "words": (N, T)}) -> {"caption": (N, pieces, T)}``, in eval mode.
            x: A batch of :class:`ClipLoader`; its ``words`` are not looked at.
        """
        assert isinstance(x, Mapping)
        given = x["words"]
        said = given.new_full((len(given), 1), self.begin)
        done = given.new_zeros(len(given), dtype=torch.bool)
        while said.shape[1] <= self.length:
            logits = model({**x, "words": said})[TASK][..., -1]  # (N, pieces)
            following = torch.where(done, self.pad, logits.argmax(1))
            said = torch.cat([said, following[:, None]], 1)
            done = done | (following == self.end)
            if bool(done.all()):
                break
        return F.pad(said[:, 1:], (0, self.length + 1 - said.shape[1]), value=self.pad)


@dataclass(frozen=True)
class NextPiece:
    """Cross-entropy of the next piece, the mean over all that are not fill."""

    pad: int

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(N, pieces, T) logits and (N, T) pieces -> scalar."""
        return F.cross_entropy(prediction, target, ignore_index=self.pad)

    def count(self, _: Tensor, target: Tensor) -> Tensor:
        """How many pieces are not fill."""
        return (target != self.pad).sum()


def clip_data(
    splits: Mapping[str, Clips], vocabulary: Vocabulary, *, frames: int, batch: int, seed: int
) -> Data:
    """The task, its metrics and loaders for ``train``, ``val`` and ``test``."""
    longest = max(
        len(vocabulary.encode(clips.caption(i))) for clips in splits.values() for i in range(len(clips))
    )
    loaders = {
        split: ClipLoader(
            clips=clips,
            vocabulary=vocabulary,
            frames=frames,
            length=longest + 1,
            batch=batch,
            seed=seed,
            shuffle=split == "train",
        )
        for split, clips in splits.items()
    }
    loss = NextPiece(vocabulary.pad)
    task = Task(
        loss,
        {
            "bleu3": metrics.CaptionScore("bleu3", vocabulary.text),
            "bleu4": metrics.CaptionScore("bleu4", vocabulary.text),
            "meteor": metrics.CaptionScore("meteor", vocabulary.text),
            "rouge_l": metrics.CaptionScore("rouge_l", vocabulary.text),
            "cider": metrics.CaptionScore("cider", vocabulary.text),
        },
        decode=Greedy(vocabulary.begin, vocabulary.end, vocabulary.pad, longest + 1),
        count=loss.count,
    )
    return Data(
        tasks={TASK: task},
        channels={TASK: len(vocabulary)},
        train=loaders["train"],
        val=loaders["val"],
        test=loaders["test"],
        classes={TASK: vocabulary.pieces},
    )
