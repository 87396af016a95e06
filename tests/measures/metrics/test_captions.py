"""Caption metrics against values by hand."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from secateur.measures.metrics import CaptionScore
from secateur.measures.metrics.captions import Statistic

WORDS = [
    "<end>",
    "the",
    "cat",
    "cats",
    "sat",
    "on",
    "mat",
    "a",
    "girl",
    "cut",
    "cuts",
    "onions",
    "in",
    "here",
    "there",
    "b",
    "c",
    "d",
    "e",
    "one",
    "two",
    "three",
    "four",
]


def text(numbers: Sequence[int]) -> str:
    return " ".join(WORDS[n] for n in numbers if n)


def pieces(*sentences: str, length: int = 8) -> Tensor:
    rows = [[WORDS.index(word) for word in sentence.split()] for sentence in sentences]
    return torch.tensor([row + [0] * (length - len(row)) for row in rows])


def score(statistic: Statistic, said: Tensor, truth: Tensor) -> float:
    metric = CaptionScore(statistic, text)
    metric.update(said, truth)
    return float(metric.compute())


def test_bleu() -> None:
    said, truth = pieces("the cat sat on the mat"), pieces("the cat sat on a mat")
    assert score("bleu3", said, truth) == pytest.approx((5 / 6 * 3 / 5 * 2 / 4) ** (1 / 3))
    assert score("bleu4", said, truth) == pytest.approx((5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** (1 / 4))
    short = pieces("the cat sat on")  # every n-gram is right, but 4 words stand for 6
    assert score("bleu4", short, truth) == pytest.approx(math.exp(1 - 6 / 4))


def test_bleu_is_of_the_corpus_not_a_mean() -> None:
    said, truth = pieces("one two three four", "the cat"), pieces("one two three four", "a girl")
    assert score("bleu3", said, truth) == pytest.approx((4 / 6 * 3 / 4 * 2 / 2) ** (1 / 3))


def test_rouge_l() -> None:
    said, truth = (
        pieces("the cat sat on the mat", "a girl"),
        pieces("the cat sat on a mat", "a girl cuts onions"),
    )
    precision, recall = 1.0, 0.5
    second = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert score("rouge_l", said, truth) == pytest.approx((5 / 6 + second) / 2)


def test_meteor_matches_stems_but_no_synonyms() -> None:
    said, truth = pieces("a girl cuts onions in here"), pieces("a girl cut onions in there")
    assert score("meteor", said, truth) == pytest.approx(5 / 6 * (1 - 0.5 * (1 / 5) ** 3))


def test_cider() -> None:
    truth = pieces("a b c d e", "one two three four")
    assert score("cider", truth, truth) == pytest.approx(10.0)
    assert score("cider", truth.flip(0), truth) == pytest.approx(0.0)
    cosines = [4 / math.sqrt(20), 3 / math.sqrt(12), 2 / math.sqrt(6), 1 / math.sqrt(2)]
    first = 10 * sum(cosines) / 4 * math.exp(-1 / 72)
    assert score("cider", pieces("a b c d", "one two three four"), truth) == pytest.approx((first + 10) / 2)


@pytest.mark.parametrize("statistic", ["bleu3", "bleu4", "meteor", "rouge_l", "cider"])
def test_batches_of_any_size_and_length_count_alike(statistic: Statistic) -> None:
    said = ["the cat sat on the mat", "a girl cuts onions", "one two three four"]
    truth = ["the cat sat on a mat", "a girl cut onions in there", "one two three"]
    apart = CaptionScore(statistic, text)
    for s, t in zip(said, truth, strict=True):
        apart.update(pieces(s, length=len(s.split()) + 1), pieces(t, length=9))
    assert float(apart.compute()) == pytest.approx(score(statistic, pieces(*said), pieces(*truth)))
    apart.reset()
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert math.isnan(apart.compute())
    assert apart.higher_is_better
    empty = pieces("", "", "")
    assert score(statistic, empty, pieces(*truth)) == 0.0


def test_logits_and_unknown_statistics_are_refused() -> None:
    with pytest.raises(ValueError, match="decode"):
        CaptionScore("bleu4", text).update(torch.zeros(2, 9, 4), torch.zeros(2, 4).long())
    filled = torch.tensor([[1, 2, -100, -100]])
    for said, truth, name in ((filled, filled.abs(), "prediction"), (filled.abs(), filled, "target")):
        with pytest.raises(ValueError, match=f"{name} holds -100, which is no piece"):
            CaptionScore("cider", text).update(said, truth)
    with pytest.raises(ValueError, match="choose one of"):
        CaptionScore("bleu5", text)  # type: ignore[arg-type]


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocoevalcap.cider.cider", None)
    with pytest.raises(ImportError, match=r"secateur\[captions\]"):
        CaptionScore("cider", text)
