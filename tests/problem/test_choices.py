"""A word that is none of those an argument takes is refused by name, in every public place that takes words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import pytest
import torch

from problem.public_arguments import public_arguments
from problems import two_heads
from secateur import (
    GradualMagnitude,
    GroupLasso,
    LearnedThreshold,
    Masked,
    SoftThreshold,
    UncertaintyWeighting,
    components,
    evaluate,
    select,
)
from secateur.data import celebamask, cityscapes, dense_data, nyuv2, rooms
from secateur.data.making import Loading
from secateur.measures import delta_t, metrics, overlap, sensitivity
from secateur.problem import prunable
from secateur.pruning import Shrinkage, Thresholded, bake, task_scores
from secateur.weighting import adaptive_weights
from secateur.zoo import independent, lim_resnetd50, separate_bottom, shared_bottom, transformer_encoder

ROOMS = ("pruning", "methods", "weighting", "problem", "measures", "measures.metrics", "data", "zoo")
NEEDED: dict[Any, Callable[[str, str], Any]] = {  # how to call what cannot be called by the word alone
    GroupLasso: lambda name, word: GroupLasso(density=0.5, **{name: word}),
    Shrinkage: lambda name, word: Shrinkage(torch.tensor(0.1), True, word),
    adaptive_weights: lambda name, word: adaptive_weights(torch.ones(2), **{name: word}),
    celebamask: lambda name, word: celebamask(root=".", **{name: word}),
    cityscapes: lambda name, word: cityscapes(root=".", **{name: word}),
    components: lambda name, word: components(two_heads(), word),
    delta_t: lambda name, word: delta_t({}, {}, {}, **{name: word}),
    dense_data: lambda name, word: dense_data(
        {}, ("seg",), Loading((8, 8), 1, 0), classes=("a",), **{name: word}
    ),
    evaluate: lambda name, word: evaluate(two_heads(), word),
    independent: lambda name, word: independent({"a": 2}, width=0.125, **{name: word}),
    lim_resnetd50: lambda name, word: lim_resnetd50({"a": 1}, 0.05, {"a": word}),
    metrics.CaptionScore: lambda name, word: metrics.CaptionScore(word, str),
    metrics.CrossEntropy: lambda name, word: metrics.CrossEntropy(2, **{name: word}),
    metrics.DepthError: lambda name, word: metrics.DepthError(**{"statistic": "abs", name: word}),
    metrics.MeanIoU: lambda name, word: metrics.MeanIoU(2, **{name: word}),
    metrics.NormalAngle: lambda name, word: metrics.NormalAngle(**{"statistic": "mean", name: word}),
    metrics.PixelAccuracy: lambda name, word: metrics.PixelAccuracy(2, **{name: word}),
    metrics.group_sparsity: lambda name, word: metrics.group_sparsity([torch.ones(2, 2)], word),
    nyuv2: lambda name, word: nyuv2(root=".", **{name: word}),
    overlap: lambda name, word: overlap(two_heads(), **{name: word}),
    rooms: lambda name, word: rooms(measures=word, **SMALL),
    select: lambda name, word: select({"a": torch.ones(4, 4)}, 0.5, **{name: word}),
    sensitivity: lambda name, word: sensitivity(two_heads(), **{name: word}),
    separate_bottom: lambda name, word: separate_bottom({"a": 2}, width=0.125, **{name: word}),
    shared_bottom: lambda name, word: shared_bottom({"a": 2}, width=0.125, **{name: word}),
    task_scores: lambda name, word: task_scores(two_heads(), prunable(two_heads().model), word),
    transformer_encoder: lambda name, word: transformer_encoder({"a": 2}, {}, word),
}
INSIDE = {Thresholded, bake}  # for methods, which have looked at the word
SMALL = {"train_count": 16, "val_count": 1, "test_count": 1}


def words(kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(get_args(kind)[0], str)
    return any(words(part) for part in get_args(kind))


def taking_words() -> dict[str, tuple[Any, str]]:
    found = public_arguments(ROOMS)
    return {f"{public}.{n}": (t, n) for public, t, n, k in found if t not in INSIDE and words(k)}


TAKING = taking_words()


@pytest.mark.parametrize("where", TAKING)
def test_a_word_that_there_is_not_is_refused_by_name(where: str) -> None:
    thing, name = TAKING[where]
    call = NEEDED.get(thing, lambda name, word: thing(**{name: word}))
    with pytest.raises(ValueError, match=rf"{name}\W.*'?nowhere'?.*choose"):
        call(name, "nowhere")


def test_what_was_meant_is_said() -> None:
    with pytest.raises(
        ValueError, match=r"SoftThreshold: shrinkage is 'garotte'; .* Did you mean 'garrote'\?"
    ):
        SoftThreshold(0.2, shrinkage="garotte")
    with pytest.raises(ValueError, match="LearnedThreshold: pressure is 'decoupled'"):
        LearnedThreshold(0.2, "owner", -20.0, "decoupled")
    with pytest.raises(ValueError, match=r"form is 'Kendall'; .* Did you mean 'kendall'\?"):
        UncertaintyWeighting(form="Kendall")


def test_what_is_no_word_is_not_looked_at() -> None:
    GradualMagnitude(0.2, distribution={"shade": 0.1})
    SoftThreshold(0.2, components={"all": ["*"]})
    LearnedThreshold(0.2, components="layer")


def test_a_method_of_ones_own_has_its_words_looked_at_too() -> None:
    class Mine(Masked):
        def __init__(self, density: float, order: Literal["up", "down"] = "up") -> None:
            super().__init__(density)

    Mine(0.2, "down")
    with pytest.raises(ValueError, match="Mine: order is 'left'; choose one of 'up', 'down'"):
        Mine(0.2, order="left")
