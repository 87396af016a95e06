"""Every method keeps every promise of docs/design.md, section 4, from one list: what it does on the way (contract.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from contract import (
    ALL,
    STEPS,
    VARIATIONS,
    Make,
    every_class,
    every_method,
    every_recipe,
    kept,
    overall,
    trained,
)
from loops.judged import judged
from problems import equal, shuffled_loader, two_heads, weights
from secateur.methods import DiSparseDynamic, RigL, SoftThreshold
from secateur.problem.components import prunable
from secateur.problem.problem import Problem
from secateur.pruning import Density
from secateur.pruning.sparsifier import Sparsifier
from secateur.training import Callback, Course, KeepBest, fit
from secateur.weighting import AdaptiveWeighting

OPTIMIZERS = {
    "adam": lambda groups: torch.optim.Adam(groups, lr=1e-2, weight_decay=1e-2),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-2, weight_decay=1e-1),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9, nesterov=True, weight_decay=1e-2),
}
pytestmark = pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds")


class Stop(Exception):
    pass


def stopped_and_resumed(
    make: Callable[[], Problem], method: Callable[[], Sparsifier], path: Path, at: tuple[int, ...], **options
) -> Problem:
    for stop in at:

        def halt(rows: list, stop: int = stop) -> None:
            if rows and rows[-1]["step"] >= stop:
                raise Stop

        with pytest.raises(Stop):
            fit(
                make(),
                method(),
                AdaptiveWeighting(),
                steps=STEPS,
                checkpoint=path,
                checkpoint_every=3,
                on_log=halt,
                **options,
            )
    problem = make()
    fit(problem, method(), AdaptiveWeighting(), steps=STEPS, checkpoint=path, checkpoint_every=3, **options)
    return problem


def with_optimizer() -> list[Any]:
    """Every method with Adam; with SGD, whose state is another, those of recipes; AdamW differs in its decay alone."""
    slow = {"adam": {}, "adamw": ALL, "sgd": VARIATIONS}
    return [
        pytest.param(make, made, id=f"{name}-{kind}", marks=[pytest.mark.slow] if name in slow[kind] else [])
        for name, make in ALL.items()
        for kind, made in OPTIMIZERS.items()
    ]


@pytest.mark.parametrize(("make", "optimizer"), with_optimizer())
def test_zeros_stay(make: Make, optimizer: Callable) -> None:
    """Under momentum, coupled and decoupled decay, once the mask is frozen."""
    if getattr(make(0.2), "freeze", 0.0) == 1.0:
        pytest.skip("the mask is frozen with the last step (feather_frozen has steps after it)")
    if optimizer is OPTIMIZERS["sgd"] and getattr(make(0.2), "metric", "") == "adaptive":
        pytest.skip("the adaptive metric refuses SGD (test_group_lasso)")
    problem = two_heads()
    pruned = set(prunable(problem.model))
    seen: list[dict[str, Tensor]] = []

    class Watch(type(make(0.2))):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            if step < STEPS - 4:  # every mask is frozen by then
                return
            weights = {n: p for n, p in problem.model.named_parameters() if n in pruned}
            masks = self.masks.masks if getattr(self, "masks", None) else {}
            gone = {n: ~masks[n] if n in masks else p == 0 for n, p in weights.items()}
            seen.append(gone)
            for name, p in weights.items():
                assert not p[gone[name]].any(), name
                for value in optimizer.state[p].values():
                    if isinstance(value, Tensor) and value.shape == p.shape:
                        assert not value[gone[name]].any(), name
                assert p.grad is not None
                assert not p.grad[gone[name]].any(), name

    method = make(0.2)
    method.__class__ = Watch
    fit(problem, method, steps=STEPS, optimizer=optimizer)
    assert len(seen) == 5 * method.rounds
    seen = seen[-5:]  # of the last round
    assert any(gone.any() for gone in seen[0].values())
    for name in pruned:
        assert all(torch.equal(seen[0][name], later[name]) for later in seen[1:]), name


@every_class
def test_survivors_train_on_after_the_freeze(make: Make) -> None:
    problem, before = (
        two_heads(),
        {},
    )  # at half the weights, so that random masks leave no survivor without a path

    class Watch(type(make(0.5))):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            if step == STEPS - 4:
                before.update(weights(problem))

    method = make(0.5)
    method.__class__ = Watch
    fit(problem, method, steps=STEPS, schedule=lambda progress: 1.0)
    after = weights(problem)
    for name in prunable(problem.model):
        kept = after[name] != 0
        if kept.any():
            assert (after[name][kept] != before[name][kept]).any(), name


@every_class
def test_same_seed_same_result_of_a_method_that_was_used_too(make: Make) -> None:
    found = trained(make)
    one, two, other = weights(found.problem), two_heads(), two_heads()
    fit(two, found.method, AdaptiveWeighting(), steps=STEPS)
    fit(other, make(0.2), AdaptiveWeighting(), steps=STEPS, seed=1)
    assert equal(one, weights(two))
    assert not equal(one, weights(other))


@every_recipe
@pytest.mark.parametrize("stops", [(4, 15, 27), pytest.param((4, 9, 15, 22, 27), marks=pytest.mark.slow)])
def test_resumes_bit_for_bit(make: Make, stops: tuple[int, ...], tmp_path: Path) -> None:
    straight, method = trained(make), make(0.2)
    ends = [STEPS + number * (STEPS - method.resumes_at(STEPS)) for number in range(method.rounds - 1)]
    later = tuple(end + step for end in ends for step in (5, 17))
    stopped = stopped_and_resumed(two_heads, lambda: make(0.2), tmp_path / "c.pt", (*stops, *later))
    assert equal(weights(straight.problem), weights(stopped))
    again = fit(two_heads(), make(0.2), AdaptiveWeighting(), steps=STEPS, checkpoint=tmp_path / "c.pt")
    assert again.rows == straight.rows


@every_method
def test_what_is_settled_stays(make: Make) -> None:
    """From the step on at which a method says that it has come to what was asked, stopping leaves the density of the end."""
    last, seen = trained(make), list[tuple[int, Density]]()

    class Stopping(Callback):
        def after_step(self, course: Course, losses: object) -> None:
            if course.settled:
                seen.append((course.step, course.pruning.density()))
                course.stop("settled")

    problem, method = two_heads(), make(0.2)
    fit(problem, method, AdaptiveWeighting(), steps=STEPS, callbacks=[Stopping()], progress=False)
    ((step, found),) = seen
    assert kept(problem, method) == pytest.approx(kept(last.problem, last.method), abs=0.003)
    if not isinstance(method, (RigL, DiSparseDynamic)):  # whose grown weights may be zero
        assert found.overall == pytest.approx(overall(problem), abs=1e-9)
    assert step < method.total(STEPS) or getattr(method, "freeze", None) == 1.0


@every_class
def test_the_best_state_is_the_best_that_is_settled(make: Make) -> None:
    """Validations that fall on the steps at which weights are exchanged included: what is kept has the density asked."""
    found = list[float]()

    class Watch(Callback):
        def validated(self, course: Course, metrics: Any) -> None:
            if course.settled:
                found.append(metrics["shade"]["error"])

    problem, method, keep = judged(), make(0.2), KeepBest("shade.error")
    fit(problem, method, steps=STEPS, validate_every=2, callbacks=[keep, Watch()], progress=False)
    assert keep.value == min(found)
    last = trained(make)
    assert overall(problem) == pytest.approx(overall(last.problem), abs=0.003)
    assert kept(problem, method) == pytest.approx(kept(last.problem, last.method), abs=0.003)


@pytest.mark.parametrize("own_generator", [False, True])
def test_a_users_shuffled_loader_resumes_bit_for_bit(tmp_path: Path, own_generator: bool) -> None:
    def make() -> Problem:
        problem = two_heads()
        generator = torch.Generator().manual_seed(3) if own_generator else None
        return Problem(problem.model, problem.tasks, shuffled_loader(generator))

    straight = make()
    fit(straight, SoftThreshold(0.2), AdaptiveWeighting(), steps=STEPS)
    stopped = stopped_and_resumed(make, lambda: SoftThreshold(0.2), tmp_path / "c.pt", (4, 9, 22))
    assert equal(weights(straight), weights(stopped))
