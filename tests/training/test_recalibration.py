"""BatchNorm measured anew: what the batches do not reach, what is frozen and what a broken pass leaves is as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import equal, two_heads, weights
from secateur.problem.problem import Problem, Task
from secateur.training import recalibrate
from secateur.training.fit import fit


class Domains(nn.Module):
    """A bottom with BatchNorm for each task, which gives what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleDict({name: nn.BatchNorm1d(3) for name in ("photo", "sketch")})
        self.top = nn.Linear(3, 2)

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {task: self.top(self.norms[task](own)) for task, own in x.items()}


def domains() -> Problem:
    torch.manual_seed(0)
    data = [(torch.randn(8, 3) + 5.0, torch.randint(2, (8,))) for _ in range(4)]
    each = {task: [({task: x}, y) for x, y in data] for task in ("photo", "sketch")}
    return Problem(Domains(), dict.fromkeys(each, Task(F.cross_entropy)), each)


def test_a_norm_that_the_batches_do_not_reach_keeps_its_statistics() -> None:
    problem = domains()
    fit(problem, steps=40)
    before = weights(problem)
    recalibrate(problem, 1)  # of one task
    after = weights(problem)
    moved = {n for n in before if "running_mean" in n and not torch.equal(before[n], after[n])}
    assert len(moved) == 1
    assert all(float(after[n].abs().min()) > 1.0 for n in before if "running_mean" in n)


@pytest.mark.parametrize("training", [True, False])
def test_frozen_statistics_stay_frozen(training: bool) -> None:
    problem = two_heads()
    fit(problem, steps=5)
    before = weights(problem)
    problem.model.train(training).trunk[1].eval()
    recalibrate(problem, 2)
    assert equal(before, weights(problem)) == training  # a model in eval mode as a whole is measured anew
    assert not problem.model.trunk[1].training


def test_a_pass_that_raises_leaves_them_as_they_were() -> None:
    problem, seen = two_heads(), list[int]()
    fit(problem, steps=5)
    before = weights(problem)

    def break_off(*_: object) -> None:
        seen.append(1)
        if len(seen) == 2:
            raise RuntimeError("out of paper")

    problem.model.colour.register_forward_hook(break_off)
    with pytest.raises(RuntimeError, match="out of paper"):
        recalibrate(problem, 3)
    assert equal(before, weights(problem))
    assert problem.model.trunk[1].momentum == 0.1
