"""Losses, buffers and what is trained beside a network are seen at the step that spoils them, and the step is taken back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import TwoHeads, batches, equal, tasks, two_heads, weights
from secateur import Problem, Pruning, SoftThreshold, Sparsifier, Task, UncertaintyWeighting, fit
from secateur.training import Callback, Course
from secateur.training.finite.finite import Finite


class Seen(Callback):
    """The network as each step left it."""

    def start(self, course: Course) -> None:
        self.last, self.steps = weights(course.problem), 0

    def after_step(self, course: Course, losses: object) -> None:
        self.last, self.steps = weights(course.problem), course.step


def spoilt(at: int, *, unlabelled: bool) -> list[Any]:
    """Batches of which one has a pixel that is far too large, or NaN and no labels."""
    found = []
    for step, (x, targets) in enumerate(batches(9), 1):
        if step == at:
            x = x * torch.nan if unlabelled else x.index_fill(0, torch.tensor([0]), 1e25)
            targets = {"colour": torch.full_like(targets["colour"], -100)} if unlabelled else targets
        found.append((x, targets))
    return found


class Outside(TwoHeads):
    """Statistics of the input, which nothing that is trained depends on."""

    def __init__(self) -> None:
        super().__init__(8)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.norm(x)
        return super().forward(x.nan_to_num().clamp(-3, 3))


@pytest.mark.parametrize("unlabelled", [False, True])
@pytest.mark.parametrize("at", [1, 4])
def test_statistics_that_one_batch_spoils(at: int, unlabelled: bool) -> None:
    problem, seen = Problem(Outside(), tasks(), spoilt(at, unlabelled=unlabelled)), Seen()
    said = (
        rf"Buffers became NaN or infinite: norm\.running_\w+.*, at step {at}; .* as it was before that step"
    )
    with pytest.raises(FloatingPointError, match=said) as raised:
        fit(problem, SoftThreshold(0.5), steps=9, log_every=100, callbacks=[seen], progress=False)
    assert seen.steps == at - 1
    assert equal(seen.last, weights(problem))
    remedy = (
        f"The input of step {at} holds NaN" if unlabelled else "numbers in the data that are far too large"
    )
    assert remedy in str(raised.value)


def test_elsewhere_a_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where nothing is read at a step."""
    monkeypatch.setattr(Finite, "_on_host", lambda self: False)
    problem = Problem(Outside(), tasks(), spoilt(2, unlabelled=False))
    said = (
        r"norm\.running_var, by step 3; .* The weights are finite, those of step 3; load or build the buffers"
    )
    with pytest.raises(FloatingPointError, match=said):
        fit(problem, steps=9, log_every=3, progress=False)


def infinite(at: int) -> Problem:
    """Shade's loss is infinite at a step, its gradient is not."""
    problem, calls = two_heads(), 0

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += torch.is_grad_enabled()
        return F.l1_loss(prediction, target) + (torch.inf if calls == at else 0.0)

    _ = problem.owners
    calls = 0
    return Problem(problem.model, {**problem.tasks, "shade": Task(loss)}, problem.train)


def test_a_loss_is_seen_at_its_step() -> None:
    problem, seen = infinite(4), Seen()
    said = r"loss of task 'shade' .* at step 4; .* The model is as it was before that step"
    with pytest.raises(FloatingPointError, match=said):
        fit(problem, steps=9, log_every=100, callbacks=[seen], progress=False)
    assert seen.steps == 3
    assert equal(seen.last, weights(problem))


def test_elsewhere_it_is_said_what_was_trained_since(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Finite, "_on_host", lambda self: False)
    problem, seen = infinite(4), Seen()
    said = r"at step 4; .* Nothing was put back: the model is that of step 6, and finite"
    with pytest.raises(FloatingPointError, match=said):
        fit(problem, steps=9, log_every=6, callbacks=[seen], progress=False)
    assert equal(seen.last, weights(problem))


class Growing(TwoHeads):
    """Makes buffers as it goes: one that was None, one that was not there, and one of another size with each input."""

    grid: Tensor | None

    def __init__(self) -> None:
        super().__init__(8)
        self.register_buffer("grid", None)
        self.mean = nn.Buffer(torch.zeros(2))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if self.training:
            mean = x.detach().mean((0, 2, 3))
            self.grid = mean if self.grid is None else self.grid + mean
            if not hasattr(self, "late"):
                self.register_buffer("late", torch.zeros(3))
            self.late = self.late + mean
            self.mean = torch.cat([self.mean, mean])
            self.mask = torch.full((2, 2), -torch.inf).triu(1)
        return super().forward(x)


@pytest.mark.parametrize("at", [1, 3])
def test_buffers_that_came_later_go_back_too(at: int) -> None:
    data = [(x * torch.nan if k == at else x, t) for k, (x, t) in enumerate(batches(), 1)]
    problem = Problem(Growing(), tasks(), data)
    _ = problem.owners
    model: Any = problem.model
    model.grid, model.mean = None, torch.zeros(2)
    if hasattr(model, "late"):
        del model.late
    seen = Seen()
    with pytest.raises(FloatingPointError, match=f"at step {at}; .* as it was before that step"):
        fit(problem, steps=6, callbacks=[seen], progress=False)
    assert equal(seen.last, weights(problem))
    assert (model.grid is None) == (not hasattr(model, "late")) == (at == 1)
    assert model.mean.shape == (2 + 3 * (at - 1),)


class Masking(TwoHeads):
    """Its first forward pass makes a mask of infinities."""

    causal: Tensor | None

    def __init__(self) -> None:
        super().__init__(8)
        self.register_buffer("causal", None)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if self.causal is None:
            self.causal = torch.full((3, 3), -torch.inf).triu(1)
        return super().forward(x)


def test_infinities_that_a_network_makes_are_no_fault() -> None:
    problem = Problem(Masking(), tasks(), batches())
    _ = problem.owners
    model: Any = problem.model
    model.causal = None
    fit(problem, steps=3, progress=False)
    assert model.causal is not None


class Beside(Sparsifier):
    """Trains a number whose gradient is infinite at a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def start(self, problem: Problem, steps: int) -> None:
        self.number, self.step = nn.Parameter(torch.zeros(())), 1

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.number]}]

    def penalty(self) -> Tensor:
        return self.number.abs().sqrt() if self.step == self.at else self.number

    def after_step(self, step: int, optimizer: object) -> None:
        self.step = step + 1
        self.before = self.number.detach().clone()


def test_what_a_method_trains_is_looked_at_too() -> None:
    problem, seen, method = two_heads(), Seen(), Beside(3)
    sgd = lambda groups: torch.optim.SGD(groups, lr=0.0)  # noqa: E731
    said = r"The gradient of what Beside trains became NaN or infinite at step 3; .* as it was before"
    with pytest.raises(FloatingPointError, match=said):
        fit(problem, method, UncertaintyWeighting(), steps=6, optimizer=sgd, callbacks=[seen], progress=False)
    assert equal(seen.last, weights(problem))
    assert torch.equal(method.number, method.before)


def loop(problem: Problem, scale: float, steps: int, make: Any) -> Iterator[Pruning]:
    """A loop of one's own with a gradient scaler; after each step."""
    with Pruning(problem, steps=steps) as pruning:
        optimizer = pruning.attach(make(pruning.groups()))
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
        for x, targets in list(problem.train)[:steps]:
            scaler.scale(pruning.loss(problem.network(x), targets, x)).backward()
            scaler.step(optimizer)
            scaler.update()
            pruning.step()
            optimizer.zero_grad()
            yield pruning


MAKE = [lambda g: torch.optim.SGD(g, lr=1e-2), lambda g: torch.optim.Adam(g, lr=1e-2, fused=True)]


@pytest.mark.parametrize("make", MAKE, ids=["by itself", "in the optimizer"])
@pytest.mark.parametrize("unlabelled", [False, True])
def test_under_a_gradient_scaler_a_step_is_taken_back_too(make: Any, unlabelled: bool) -> None:
    problem = Problem(Outside(), tasks(), spoilt(3, unlabelled=unlabelled))
    states = [weights(problem)]
    with pytest.raises(FloatingPointError, match=r"Buffers .* at step 3; .* as it was before"):
        states.extend(weights(problem) for _ in loop(problem, 8.0, 6, make))
    assert len(states) == 3
    assert equal(states[-1], weights(problem))


@pytest.mark.parametrize("make", MAKE, ids=["by itself", "in the optimizer"])
def test_a_scale_that_is_too_large_is_no_fault(make: Any) -> None:
    assert len(list(loop(two_heads(), 2.0**127, 5, make))) == 5
