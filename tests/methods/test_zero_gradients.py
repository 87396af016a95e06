"""A task whose gradient is zero everywhere is named before it silently loses its say."""

from __future__ import annotations

import pytest
import torch

from problems import equal, two_heads, weights
from secateur import fit
from secateur.methods import DiSparseDynamic, OneShot, RigL
from secateur.problem.components import prunable
from secateur.problem.problem import Problem, Task
from secateur.pruning import scores
from secateur.pruning.passes import check_slopes
from secateur.pruning.sparsifier import Sparsifier


def dead(*tasks: str, partial: bool = False) -> Problem:
    """The loss of these tasks does not depend on their predictions."""
    plain = two_heads(partial=partial)
    nothing = Task(lambda p, t: (p * 0).sum())
    return Problem(
        plain.model, {t: nothing if t in tasks else s for t, s in plain.tasks.items()}, plain.train
    )


GRADIENT_METHODS = {
    "snip": lambda: OneShot(0.2, "snip", batches=2),
    "taylor": lambda: OneShot(0.2, "taylor", batches=2, at=0.5),
    "rigl": lambda: RigL(0.2),
    "disparse_dynamic": lambda: DiSparseDynamic(0.2),
}
every = pytest.mark.parametrize("make", GRADIENT_METHODS.values(), ids=GRADIENT_METHODS.keys())


@every
@pytest.mark.parametrize("partial", [False, True])
def test_the_task_is_named(make: type[Sparsifier], partial: bool) -> None:
    with pytest.raises(ValueError, match=r"gradient of task 'shade' is zero everywhere .* look at its loss"):
        fit(dead("shade", partial=partial), make(), steps=6)


@every
def test_all_tasks(make: type[Sparsifier]) -> None:
    with pytest.raises(ValueError, match=r"gradient of task 'colour', 'shade' is zero everywhere"):
        fit(dead("colour", "shade"), make(), steps=6)


@every
def test_a_task_without_labels_in_a_batch_is_not_one(make: type[Sparsifier]) -> None:
    fit(two_heads(partial=True), make(), steps=6)


def test_labels_that_are_missing_from_all_batches_scored_are_not_zero_gradients() -> None:
    problem = two_heads(partial=True)
    assert "colour" not in problem.train[0][1]
    scores.gradients(problem, prunable(problem.model), 1)


def test_heads_that_pass_nothing_on() -> None:
    """The losses move the predictions, but no prediction moves a weight."""
    problem = two_heads()
    with torch.no_grad():
        problem.model.trunk[4].weight.zero_()
        problem.model.trunk[4].bias.fill_(-1.0)
        problem.model.shade[0].bias.fill_(-1.0)
    with pytest.raises(ValueError, match="is zero everywhere"):
        scores.gradients(problem, prunable(problem.model), 2)


def test_looking_leaves_no_trace_and_ends_early() -> None:
    problem, calls = two_heads(), []
    problem.model.register_forward_hook(lambda *_: calls.append(1))
    before, state = weights(problem), torch.get_rng_state()
    check_slopes(problem)
    assert equal(before, weights(problem))
    assert torch.equal(state, torch.get_rng_state())
    assert len(calls) == 1


def test_random_growth_asks_no_gradient() -> None:
    fit(dead("shade"), RigL(0.2, "random"), steps=6)
