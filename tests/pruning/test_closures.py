"""Optimizers that evaluate the loss within a step, where they have moved the weights: zeros are zero there, and a bad step is taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import LBFGS, SGD, Optimizer

from loops import adamw
from problems import equal, two_heads, weights
from secateur import GradualMagnitude, OneShot, Problem, Pruning, RigL, SoftThreshold, Task
from secateur.pruning import Sparsifier


class SAM(Optimizer):
    """As it is published: up along the gradient, the loss again, and from where it was down along the new one."""

    def __init__(self, groups: Any, how: str = "add") -> None:
        super().__init__(groups, {})
        self.how = how
        self.inner = SGD(self.param_groups, lr=1e-2)
        self.up: list[Tensor] = []

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        found = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.up, before = [p.grad.clone() for p in found], [p.clone() for p in found]
        for p in found:
            if self.how == "exchanged":
                p.data = p.data + 0.5 * p.grad
            else:
                (p.data if self.how == "data" else p).add_(p.grad, alpha=0.5)
            p.grad = None
        with torch.enable_grad():
            closure()
        for p, value in zip(found, before, strict=True):
            p.data = value
        self.inner.step()


class MeZO(Optimizer):
    """Zeroth order: the loss on either side along a random direction, without gradients (Malladi et al. 2023)."""

    def __init__(self, groups: Any) -> None:
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        found = [p for group in self.param_groups for p in group["params"]]
        along = [torch.randn_like(p) for p in found]

        def moved(size: float) -> None:
            for p, z in zip(found, along, strict=True):
                p.data = p.data + size * z

        moved(0.1)
        above = closure()
        moved(-0.2)
        below = closure()
        moved(0.1)
        for p, z in zip(found, along, strict=True):
            p.sub_((above - below) / 0.2 * z * 1e-2)


def lbfgs(groups: Any) -> Optimizer:
    return LBFGS(groups[0]["params"], lr=0.1, max_iter=3)


def sam_by_data(groups: Any) -> Optimizer:
    return SAM(groups, "data")


def sam_by_exchange(groups: Any) -> Optimizer:
    return SAM(groups, "exchanged")


@pytest.mark.parametrize("make", [lbfgs, SAM, sam_by_data, sam_by_exchange, MeZO])
@pytest.mark.parametrize(
    "method",
    [lambda: OneShot(0.2, at=0.3), lambda: SoftThreshold(0.2, ramp=(0.1, 0.3)), lambda: RigL(0.2, every=2)],
)
def test_what_is_pruned_is_zero_wherever_the_loss_is_evaluated(
    make: Any, method: Callable[[], Sparsifier]
) -> None:
    problem, found = two_heads(), list[float]()
    with Pruning(problem, method(), steps=8) as pruning:
        optimizer: Any = pruning.attach(make(pruning.groups()))
        for x, targets in [*problem.train, *problem.train[:2]]:

            def closure(x: Tensor = x, targets: Any = targets) -> Tensor:
                found.append(pruning.density().overall)
                if isinstance(optimizer, LBFGS):
                    optimizer.zero_grad()
                with torch.enable_grad():
                    loss = pruning.loss(problem.model(x), targets)
                    loss.backward()
                return loss.detach()

            if isinstance(optimizer, SAM):
                closure()
            optimizer.step(closure)
            optimizer.zero_grad()
            pruning.step()
    assert found[-1] == pytest.approx(0.2, abs=0.01)
    assert max(found[-4:]) < 0.21  # more than one evaluation in the last steps
    if isinstance(optimizer, SAM) and isinstance(pruning.method, OneShot):
        mask = pruning.method.masks.masks["trunk.4.weight"]
        assert not (optimizer.up[4] * ~mask).any()  # their gradients are part of no norm


@pytest.mark.parametrize("make", [lbfgs, SAM])
def test_a_step_that_a_later_evaluation_spoils_is_taken_back(make: Any) -> None:
    made, calls = two_heads(), [0]

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        calls[0] += 1
        return F.l1_loss(prediction, target) * (torch.nan if calls[0] == 5 else 1.0)

    problem = Problem(made.model, {**made.tasks, "shade": Task(loss)}, made.train)
    pruning = Pruning(problem, GradualMagnitude(0.5), steps=8).enter()
    optimizer: Any = pruning.attach(make(pruning.groups()))
    x, targets = made.train[0]

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = pruning.loss(problem.model(x), targets)
        found.backward()
        return found

    before: dict[str, Tensor] = {}
    calls[0] = 0
    with pytest.raises(FloatingPointError, match="The model is as it was before that step"):  # noqa: PT012
        for _ in range(4):
            before = weights(problem)
            if make is SAM:
                closure()
                before = {**before, **{n: b.clone() for n, b in problem.model.named_buffers()}}
            optimizer.step(closure)
            pruning.step()
    now = weights(problem)
    names = {n for n, _ in problem.model.named_parameters()}
    assert equal({n: before[n] for n in names}, {n: now[n] for n in names})
    pruning.undo()


class Lookahead:
    """Every other step it goes half of the way, from weights of its own."""

    def __init__(self, optimizer: Optimizer, data: bool) -> None:
        self.optimizer, self.data, self.count = optimizer, data, 0
        self.fast = [p for group in optimizer.param_groups for p in group["params"]]
        self.slow = [p.detach().clone() for p in self.fast]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        self.optimizer.step(closure)
        self.count += 1
        for p, slow in zip(self.fast, self.slow, strict=True) if self.count % 2 == 0 else ():
            slow.add_(p - slow, alpha=0.5)
            (p.data if self.data else p).copy_(slow)


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize(
    "method", [lambda: OneShot(0.2, at=0.3), lambda: SoftThreshold(0.2, ramp=(0.1, 0.3))]
)
def test_what_a_wrapper_writes_after_the_step_revives_nothing(method: Any, data: bool) -> None:
    problem, found = two_heads(), list[float]()
    with Pruning(problem, method(), steps=8) as pruning:
        optimizer: Any = Lookahead(adamw(pruning.groups()), data)
        assert pruning.attach(optimizer) is optimizer
        for x, targets in [*problem.train, *problem.train[:2]]:
            pruning.loss(problem.model(x), targets).backward()
            optimizer.step()
            optimizer.optimizer.zero_grad()
            pruning.step()
            found.append(pruning.density().overall)
    assert found[-3:] == pytest.approx([0.2] * 3, abs=0.001)


def test_a_closure_may_be_the_backward_pass_alone() -> None:
    problem = two_heads()
    with Pruning(problem, OneShot(0.2), steps=3) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        for x, targets in problem.train[:3]:
            loss = pruning.loss(problem.model(x), targets)
            optimizer.step(lambda loss=loss: loss.backward())
            optimizer.zero_grad()
            pruning.step()
