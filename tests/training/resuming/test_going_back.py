"""The states of a step are taken up later in the same block, and training goes on from it as if nothing had come after: every method."""

from __future__ import annotations

import copy
from itertools import islice
from typing import Any

import pytest
import torch

from contract import ALL, FIRST, GROUPED, STEPS, Make, with_others_slow
from loops import adamw, endless
from loops import trained as batches
from problems import equal, two_heads, weights
from secateur import AdaptiveWeighting, GradualMagnitude, Pruning
from secateur.problem import Problem

pytestmark = pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds")


def trained(make: Make, back: int | None = None, broken: tuple[int, ...] = ()) -> Problem:
    """Trains to the end; at the steps ``broken``, one after another, it goes back to the states of step ``back``."""
    problem = two_heads()
    torch.manual_seed(0)
    problem.model.train()
    kept, drawn, rest = {}, torch.get_rng_state(), [*broken]
    with Pruning(problem, make(0.2), AdaptiveWeighting(), steps=STEPS) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        while pruning.done < pruning.total:
            if pruning.turns.between_rounds and not pruning.turns.ready:
                optimizer = pruning.attach(adamw(pruning.groups()))
            parts = {"model": problem.model, "optimizer": optimizer, "pruning": pruning}
            if pruning.done == back and not kept:
                kept = copy.deepcopy({name: part.state_dict() for name, part in parts.items()})
                drawn = torch.get_rng_state()
            if rest and pruning.done == rest[0]:
                rest.pop(0)
                for name, part in parts.items():
                    part.load_state_dict(copy.deepcopy(kept[name]))
                torch.set_rng_state(drawn)
                continue
            ((x, targets),) = islice(endless(problem), pruning.done % 6, pruning.done % 6 + 1)
            pruning.loss(problem.model(x), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            pruning.step()
    return problem


@pytest.mark.parametrize("make", with_others_slow(ALL, {*FIRST, *GROUPED}))
def test_every_method_goes_back_from_late_to_the_beginning(make: Make) -> None:
    total = make(0.2).total(STEPS)
    straight = weights(trained(make))
    assert equal(straight, weights(trained(make, 0, (total - 1, 3))))


class Late(GradualMagnitude):
    """Remembers sums of its weights, by names that it finds at the third step; unless ``ready`` there is no state of it before."""

    def __init__(self, ready: bool) -> None:
        super().__init__(0.2)
        self.ready = ready

    def start(self, problem: Problem, steps: int) -> None:
        super().start(problem, steps)
        if self.ready:
            self.sums = dict[str, torch.Tensor]()

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        super().after_step(step, optimizer)
        self.sums = {f"of {n}": p.detach().sum() for n, p in self.weights.items()} if step > 2 else {}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "sums": self.sums, "last": torch.zeros(2)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.sums = state["sums"]


def test_what_a_method_of_ones_own_remembers_later_is_no_difference() -> None:
    problem = two_heads()
    with Pruning(problem, method := Late(ready=True), steps=9) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        begun = copy.deepcopy(pruning.state_dict())
        batches(pruning, optimizer, 5)
        late = copy.deepcopy(pruning.state_dict())
        for state, done in ((begun, 0), (late, 5), (begun, 0)):
            pruning.load_state_dict(state)
            assert (pruning.done, bool(method.sums)) == (done, done > 0)
        late["method"]["last"] = torch.zeros(3)
        with pytest.raises(ValueError, match=r"method\.last is float32 \(3,\), not float32 \(2,\)"):
            pruning.load_state_dict(late)
        batches(pruning, optimizer, 9)
    with Pruning(two_heads(), Late(ready=False), steps=9) as pruning:
        batches(pruning, pruning.attach(adamw(pruning.groups())), 9)
        pruning.load_state_dict(pruning.state_dict())
