"""Scores that are the same say nothing: which layers and tasks are left to the place of a weight is said before it is trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from problems import TwoHeads, two_heads
from secateur import DiSparse, DiSparseDynamic, LearnedThreshold, OneShot, RigL, SoftThreshold, fit, overlap
from secateur.problem.components import prunable
from secateur.problem.problem import Problem
from secateur.pruning.scores import unanimous
from secateur.pruning.selection import select
from secateur.pruning.sparsifier import Sparsifier
from secateur.pruning.ties import check_ties

OWNERS = {"trunk": ("seg", "depth"), "seg": ("seg",), "depth": ("depth",)}


class Residual(nn.Module):
    """A branch behind a BatchNorm whose scale is zero at first, as ``zero_init_residual`` leaves it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        nn.init.zeros_(self.branch[1].weight)
        self.colour, self.shade = nn.Conv2d(8, 5, 1), nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        stem = self.first(x)
        features = stem + self.branch(stem)
        return {"colour": self.colour(features), "shade": self.shade(features)}


def zeroed(*names: str) -> Problem:
    """Two heads, these layers' weights zero."""
    problem = two_heads()
    with torch.no_grad():
        for name in names:
            problem.model.get_parameter(f"{name}.weight").zero_()
    return problem


def residual() -> Problem:
    plain = two_heads()
    torch.manual_seed(0)
    return Problem(Residual(), plain.tasks, plain.train)


BEFORE_TRAINING: dict[str, Callable[[], Sparsifier]] = {
    "snip": lambda: OneShot(0.2, "snip", batches=2),
    "taylor": lambda: OneShot(0.2, "taylor", batches=2),
    "disparse": lambda: DiSparse(0.2, batches=2),
    "disparse_taylor": lambda: DiSparse(0.2, "taylor", batches=2),
}
every = pytest.mark.parametrize("make", BEFORE_TRAINING.values(), ids=BEFORE_TRAINING.keys())


@every
def test_heads_that_are_all_zero_are_an_error_at_start_and_change_nothing(
    make: Callable[[], Sparsifier],
) -> None:
    problem = zeroed("colour", "shade.2")
    before = {n: p.clone() for n, p in problem.model.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"place.*initialised with zeros.*score later \(at=0\.1\)"
    ) as refused:
        fit(problem, make(), steps=4)
    assert "trunk.0.weight" in str(refused.value)
    assert "colour" in str(refused.value)
    assert all(torch.equal(before[n], p) for n, p in problem.model.state_dict().items())


@every
def test_a_residual_branch_that_is_zero_at_first_is_named(make: Callable[[], Sparsifier]) -> None:
    with pytest.warns(
        UserWarning, match=r"all weights of branch\.0\.weight \(colour, shade\) score the same"
    ):
        fit(residual(), make(), steps=2)


@pytest.mark.parametrize("score", ["snip", "taylor", "magnitude"])
def test_one_zero_head_is_named_with_its_task(score: str) -> None:
    with pytest.warns(UserWarning, match=r"OneShot: all weights of colour\.weight \(colour\) score the same"):
        fit(zeroed("colour"), OneShot(0.2, score, batches=2), steps=2)  # type: ignore[arg-type]


def test_a_task_whose_ranking_would_be_that_of_places_is_an_error_though_others_rank() -> None:
    with pytest.raises(
        ValueError, match=r"DiSparse: no weight is worth anything to task 'colour'.*colour\.weight"
    ):
        fit(zeroed("colour"), DiSparse(0.2, batches=2), steps=2)
    with pytest.raises(ValueError, match=r"overlap: no weight is worth anything to task 'colour'"):
        overlap(zeroed("colour"), batches=2)


def test_what_helps_is_true() -> None:
    """Drawn anew for the score, or scored later, zero heads score: no error, no warning."""
    fit(zeroed("colour", "shade.2"), DiSparse(0.2, batches=2, redraw=True), steps=2)
    fit(zeroed("colour", "shade.2"), OneShot(0.2, "snip", batches=2, at=0.5), steps=8)


def test_what_is_worth_nothing_to_a_task_is_not_kept_for_its_place() -> None:
    """Four shared weights: a wants the last; to b only the third is worth something. Half stay: these two, not the first."""
    found = {"a": {"w": torch.tensor([1.0, 2.0, 3.0, 4.0])}, "b": {"w": torch.tensor([0.0, 0.0, 5.0, 0.0])}}
    masks = select(unanimous(found, {"w": torch.zeros(4)}), 0.5, at_least=0)
    assert masks["w"].tolist() == [False, False, True, True]


def checked(found: dict[str, Tensor], density: float) -> None:
    check_ties("Mine", found, select(found, density), OWNERS)


def test_counts_by_hand() -> None:
    """Of 20 weights 15 score nothing. A quarter of them: all by worth. Half of them: five of the ten that stay by place."""
    trunk = torch.cat([torch.arange(1.0, 6.0), torch.zeros(5)])
    found = {"trunk": trunk, "seg": torch.zeros(6), "depth": torch.zeros(4)}
    with pytest.warns(UserWarning, match=r"Mine: all weights of seg \(seg\), depth \(depth\) score the same"):
        checked(found, 0.35)
    with pytest.raises(ValueError, match=r"Mine: \d+ of the 16 weights that are to stay .* in "):
        checked(found, 0.8)


def test_a_few_equal_scores_are_warned_of_when_they_decide() -> None:
    draw = torch.Generator().manual_seed(0)
    score = torch.rand(200, generator=draw)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked({"trunk": score}, 0.5)
        checked({"trunk": score * (score > 0.4)}, 0.5)  # the zeros all go
    with pytest.warns(UserWarning, match=r"weights that stay score the same as others that go"):
        checked({"trunk": score * (score > 0.6)}, 0.5)


def test_equal_scores_that_are_not_zero_too() -> None:
    with pytest.raises(ValueError, match="of the 10 weights that are to stay"):
        checked({"trunk": torch.full((20,), 0.7)}, 0.5)
    problem = two_heads()
    with torch.no_grad():
        for p in prunable(problem.model).values():
            p.fill_(0.1)
    with pytest.raises(ValueError, match="chosen by their place"):
        fit(problem, OneShot(0.3, "magnitude"), steps=2)


@pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds")
@pytest.mark.parametrize(
    "make",
    [lambda: LearnedThreshold(0.3), lambda: SoftThreshold(0.3, shrinkage="soft", straight_through=False)],
)
def test_layers_that_the_published_gradient_never_moves_are_named(make: Callable[[], Sparsifier]) -> None:
    problem = zeroed("colour")
    with pytest.warns(
        UserWarning, match=r"all weights of colour\.weight \(colour\) are zero, .* they stay so"
    ):
        fit(problem, make(), steps=6)
    assert isinstance(problem.model, TwoHeads)
    assert int(problem.model.colour.weight.count_nonzero()) <= 1, "what was said; a layer keeps a weight"


@pytest.mark.parametrize(
    "make", [lambda: RigL(0.3, every=1), lambda: DiSparseDynamic(0.3, every=1)], ids=["rigl", "dynamic"]
)
def test_layers_without_a_gradient_exchange_nothing(make: Callable[[], Sparsifier]) -> None:
    """The branch's weights have a gradient of zero while its scale is zero, which is frozen here; its mask stays."""
    problem, method = residual(), make()
    problem.model.branch[1].requires_grad_(False)  # type: ignore[union-attr]
    first: list[Tensor] = []

    class Watch(type(method)):
        def start(self, problem: Problem, steps: int) -> None:
            super().start(problem, steps)
            first.append(self.masks.masks["branch.0.weight"].clone())

    method.__class__ = Watch
    fit(problem, method, steps=8)
    assert torch.equal(first[0], method.masks.masks["branch.0.weight"])  # type: ignore[attr-defined]


def test_a_batch_without_labels_of_a_task_says_so() -> None:
    with pytest.warns(
        UserWarning,
        match=r"colour\.weight \(colour\) .* no label in the batches scored, .* or on more batches",
    ):
        fit(two_heads(partial=True), OneShot(0.2, "snip"), steps=2)
    fit(two_heads(partial=True), OneShot(0.2, "snip", batches=2), steps=2)
