"""Each task has an input of its own: the trunk's effective weight is computed once, and the graphs stay apart as without thresholds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from loops import adamw
from problems import equal, weights
from secateur import LearnedThreshold, Problem, Pruning, SoftThreshold, Task
from secateur.pruning import Sparsifier
from secateur.pruning.once import unwatch

METHODS: dict[str, Callable[[], Sparsifier]] = {
    "the default": lambda: SoftThreshold(0.3),
    "soft, as published": lambda: SoftThreshold(0.3, shrinkage="soft", straight_through=False),
    "a factor below": lambda: SoftThreshold(0.3, shrinkage="feather", below=0.5),
    "blocks": lambda: SoftThreshold(0.5, pattern="2x1"),
    "blocks, as published": lambda: SoftThreshold(
        0.5, pattern="2x1", shrinkage="soft", straight_through=False
    ),
    "learned": lambda: LearnedThreshold(0.3, components="layer", pressure="controller"),
    "learned, blocks": lambda: LearnedThreshold(
        0.5, components="layer", pressure="controller", pattern="2x1"
    ),
}
Run = Callable[[Any, Tensor], Tensor]


class Net(nn.Module):
    """A trunk that is run once for each task, somehow."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run, self.trunk = run, nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        self.heads = nn.ModuleDict({"a": nn.Linear(8, 3), "b": nn.Linear(8, 1)})

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {task: self.heads[task](self.run(self.trunk, value)) for task, value in x.items()}


def once(trunk: Any, x: Tensor) -> Tensor:
    return trunk(x)


def twice(trunk: Any, x: Tensor) -> Tensor:
    return trunk(x) + trunk(x)


def checkpointed(trunk: Any, x: Tensor) -> Tensor:
    return checkpoint(trunk, x, use_reentrant=False)


def partly_checkpointed(trunk: Any, x: Tensor) -> Tensor:
    return checkpoint(trunk, x, use_reentrant=False) + trunk(x)


def looked_at(trunk: Any, x: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        torch.autograd.grad(trunk(x).square().sum(), list(trunk.parameters()))
    return trunk(x)


def along_its_slope(trunk: Any, x: Tensor) -> Tensor:
    slope = torch.func.vmap(torch.func.grad(lambda one: trunk(one).sum()))(x)
    return trunk(x + 0.1 * slope)


def trained(run: Run, method: Sparsifier, *, parts: bool = False, computed_once: bool = True) -> Any:
    torch.manual_seed(0)
    draw, data = torch.Generator().manual_seed(0), list[Any]()
    for _ in range(4):
        a, b = torch.randn(8, 6, generator=draw), torch.randn(8, 6, generator=draw)
        data.append(({"a": a, "b": b}, {"a": a[:, :3].argmax(1), "b": b.sum(1, keepdim=True)}))
    problem = Problem(Net(run), {"a": Task(F.cross_entropy), "b": Task(F.mse_loss)}, data)
    with Pruning(problem, method, steps=12) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        if not computed_once:
            unwatch(problem.model)
        for x, targets in data * 3:
            found = pruning.terms(problem.model(x), targets)
            for loss in found.weighed.values() if parts else [found.total]:
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            pruning.step()
    return weights(problem)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("run", [once, looked_at, along_its_slope])
def test_each_loss_goes_backward_by_itself(run: Run, method: str) -> None:
    found = [trained(run, METHODS[method](), parts=True, computed_once=once) for once in (True, False)]
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("run", "plain"), [(checkpointed, once), (partly_checkpointed, twice)])
def test_checkpoints_change_nothing(run: Run, plain: Run, method: str) -> None:
    assert equal(trained(run, METHODS[method]()), trained(plain, METHODS[method]()))


def test_a_slope_of_slopes_goes_through_what_was_computed_once() -> None:
    """In blocks the slope depends on the weights, and so does a loss that is made of it."""

    def penalised(trunk: Any, x: Tensor) -> Tensor:
        found = trunk(x)
        plain = trunk[0].get_parameter("weight")
        (slope,) = torch.autograd.grad(found.square().sum(), [plain], create_graph=True)
        return found + slope.square().sum()

    method = METHODS["learned, blocks"]
    found = [trained(penalised, method(), computed_once=once) for once in (True, False)]
    assert all(torch.allclose(value, found[1][name], atol=1e-5) for name, value in found[0].items())
