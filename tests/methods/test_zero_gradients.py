"""Gradients that say nothing: a task whose own is zero everywhere is named, and a step that a scaler skips, with NaN and infinity, decides nothing."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from loops import trained
from problems import equal, two_heads, weights
from secateur import Pruning, fit
from secateur.methods import DiSparseDynamic, GroupLasso, LearnedThreshold, OneShot, RigL, SoftThreshold
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


def scaled(problem: Problem, method: object, steps: int, fused: bool = False) -> list[int]:
    """Trains with a scaler that begins too high; the steps that it skipped."""
    scaler, skipped = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-60), list[int]()
    with Pruning(problem, method, steps=steps) as pruning:  # type: ignore[arg-type]
        optimizer = pruning.attach(torch.optim.Adam(pruning.groups(), lr=1e-3, fused=fused))
        for step in range(1, steps + 1):
            x, targets = problem.train[step % 6]
            scaler.scale(pruning.loss(problem.model(x), targets)).backward()
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            if scaler.get_scale() < before:
                skipped.append(step)
            pruning.step()
            optimizer.zero_grad()
    return skipped


def heavy() -> Problem:
    """A problem whose gradients overflow float32 under that scale."""
    problem = two_heads()
    return replace(problem, tasks={t: replace(task, weight=1e4) for t, task in problem.tasks.items()})


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_rigl_exchanges_nothing_then(fused: bool) -> None:
    method, exchanged = RigL(0.2, every=1, until=0.9), list[int]()
    replaced = RigL.after_step

    def after_step(self: RigL, step: int, optimizer: torch.optim.Optimizer) -> None:
        before = self.masks.masks
        replaced(self, step, optimizer)
        if any(not torch.equal(before[n], mask) for n, mask in self.masks.masks.items()):
            exchanged.append(step)

    method.after_step = after_step.__get__(method)  # type: ignore[method-assign]
    skipped = scaled(heavy(), method, 8, fused)
    assert skipped
    assert exchanged
    assert not set(skipped) & set(exchanged)


def test_the_controller_keeps_its_thresholds() -> None:
    method = LearnedThreshold(0.2, pressure="controller", ramp=(0.0, 0.5))
    assert scaled(heavy(), method, 12)
    assert method._resistance.isfinite()
    assert all(alpha.isfinite() for alpha in method.thresholds().values())


@pytest.mark.parametrize("make", [SoftThreshold, DiSparseDynamic])
def test_others_train_to_their_density(make: type[SoftThreshold] | type[DiSparseDynamic]) -> None:
    problem = heavy()
    assert scaled(problem, make(0.2), 12, fused=True)
    assert all(p.isfinite().all() for p in problem.model.parameters())


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_the_lasso_kills_nothing_before_the_first_step(fused: bool) -> None:
    problem, left = heavy(), list[float]()

    class Looked(GroupLasso):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            left.append(sum(float(p.count_nonzero()) for p in prunable(problem.model).values()))

    skipped = scaled(problem, Looked(strength=1e-4, norm="l1"), 8, fused)
    size = sum(p.numel() for p in prunable(problem.model).values())
    assert skipped == [1]
    assert left[0] == size
    assert left[-1] < size


def test_nor_before_the_first_step_that_was_gone_back_to() -> None:
    problem = two_heads()
    size = sum(p.numel() for p in prunable(problem.model).values())
    with Pruning(problem, GroupLasso(strength=1e-4, norm="l1"), steps=8) as pruning:
        optimizer = pruning.attach(torch.optim.Adam(pruning.groups(), lr=1e-3, fused=True))
        parts = {"model": problem.model, "optimizer": optimizer, "pruning": pruning}
        kept = copy.deepcopy({name: part.state_dict() for name, part in parts.items()})
        trained(pruning, optimizer, 2)
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        scaler, (x, targets) = torch.amp.GradScaler("cpu", init_scale=2.0**127), problem.train[0]
        scaler.scale(1e4 * pruning.loss(problem.model(x), targets)).backward()
        scaler.step(optimizer)
        scaler.update()
        pruning.step()
        assert scaler.get_scale() < 2.0**127
        assert sum(int(p.count_nonzero()) for p in prunable(problem.model).values()) == size
        pruning.leave(early=True)
