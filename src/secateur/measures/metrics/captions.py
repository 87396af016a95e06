"""Captions: BLEU, METEOR, ROUGE-L and CIDEr, by the packages that the field counts with."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.text import bleu_score

Statistic = Literal["bleu3", "bleu4", "meteor", "rouge_l", "cider"]
_NEEDS = {
    "meteor": "nltk.translate.meteor_score",
    "rouge_l": "pycocoevalcap.rouge.rouge",
    "cider": "pycocoevalcap.cider.cider",
}
_STOP = -1  # after each caption, in the states


class CaptionScore(Metric):
    """How close the captions of a data set are to one reference each; words are compared, not pieces.

    ``bleu3`` and ``bleu4``: of the corpus, n-grams up to 3 or 4 with equal weights, brevity penalty, no smoothing
    (Papineni et al. 2002; torchmetrics). ``meteor``: mean over captions, words matched exactly or by Porter's stem, not
    by synonyms, parameters of Banerjee and Lavie 2005 (nltk); published tables use METEOR 1.5 in Java, with synonyms
    and paraphrases, whose values are not comparable. ``rouge_l``: mean over captions of the F-measure with β = 1.2 of
    the longest common subsequence, as coco-caption has it (pycocoevalcap). ``cider``: CIDEr-D, what coco-caption calls
    CIDEr: n-grams up to 4, σ = 6, document frequencies from the references of this very split, 0 to 10 (pycocoevalcap).
    The others lie in [0, 1]. Without a caption every one is nan.

    Args:
        statistic: Which.
        text: Numbers of pieces to a sentence with single spaces between words; stops at the end piece.

    Raises:
        ValueError: If the statistic is unknown.
        ImportError: If the package that counts it is not installed; it says what to install.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    said: list[Tensor] | Tensor
    truth: list[Tensor] | Tensor

    def __init__(self, statistic: Statistic, text: Callable[[Sequence[int]], str]) -> None:
        super().__init__()
        if statistic not in get_args(Statistic):
            raise ValueError(f"statistic is {statistic!r}; choose one of {list(get_args(Statistic))}.")
        self.statistic, self.text = statistic, text
        if statistic in _NEEDS:
            _package(statistic)  # now, not after hours of training
        for name in ("said", "truth"):
            self.add_state(name, [], dist_reduce_fx="cat")  # pyright: ignore[reportUnknownMemberType]

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts one batch.

        Args:
            prediction: (N, T) int64 pieces that were decoded.
            target: (N, S) int64 pieces of the reference.

        Raises:
            ValueError: If these are not numbers of pieces, such as the logits of a task without ``decode``, or negative.
        """
        for name, value in (("prediction", prediction), ("target", target)):
            if value.dim() != 2 or value.is_floating_point() or len(value) != len(target):
                raise ValueError(
                    f"{name} is {value.dtype} {tuple(value.shape)}; give int64 (N, pieces). "
                    "A model that gives logits needs Task(..., decode=...)."
                )
            if bool((value < 0).any()):
                raise ValueError(
                    f"{name} holds {int(value.min())}, which is no piece; fill captions up with a piece that ``text`` leaves out."
                )
        assert isinstance(self.said, list)
        assert isinstance(self.truth, list)
        self.said.append(_flat(prediction))
        self.truth.append(_flat(target))

    def compute(self) -> Tensor:
        """The statistic over all captions; a float64 scalar."""
        said, truth = self._sentences(self.said), self._sentences(self.truth)
        if not said:
            return torch.tensor(torch.nan, dtype=torch.float64)
        return torch.tensor(_SCORES[self.statistic](said, truth), dtype=torch.float64)

    def _sentences(self, state: list[Tensor] | Tensor) -> list[str]:
        parts = state if isinstance(state, list) else [state]
        numbers = [number for part in parts for number in part.tolist()]
        found: list[str] = []
        start = 0
        for place, number in enumerate(numbers):
            if number == _STOP:
                found.append(self.text(numbers[start:place]))
                start = place + 1
        return found


def _flat(pieces: Tensor) -> Tensor:
    """Captions of any length, one after the other: processes and batches may differ in it."""
    return torch.nn.functional.pad(pieces, (0, 1), value=_STOP).flatten()


def _package(statistic: str) -> Any:
    try:
        return importlib.import_module(_NEEDS[statistic])
    except ImportError as error:
        raise ImportError(
            f"The metric {statistic} needs {_NEEDS[statistic].partition('.')[0]}: pip install 'secateur[captions]' "
            f"({error})."
        ) from error


def _bleu(order: int) -> Callable[[list[str], list[str]], float]:
    return lambda said, truth: float(bleu_score(said, [[t] for t in truth], n_gram=order))


class _NoSynonyms:
    """In the place of WordNet, whose data would have to be downloaded."""

    def synsets(self, word: str) -> list[Any]:
        """None of any word."""
        return []


def _meteor(said: list[str], truth: list[str]) -> float:
    score = _package("meteor").meteor_score
    values = [score([t.split()], s.split(), wordnet=_NoSynonyms()) for s, t in zip(said, truth, strict=True)]
    return sum(values) / len(values)


def _coco(scorer: Any, said: list[str], truth: list[str]) -> float:
    pairs = range(len(said))
    return float(scorer.compute_score({i: [truth[i]] for i in pairs}, {i: [said[i]] for i in pairs})[0])


_SCORES: dict[str, Callable[[list[str], list[str]], float]] = {
    "bleu3": _bleu(3),
    "bleu4": _bleu(4),
    "meteor": _meteor,
    "rouge_l": lambda said, truth: _coco(_package("rouge_l").Rouge(), said, truth),
    "cider": lambda said, truth: _coco(_package("cider").Cider(), said, truth),
}
