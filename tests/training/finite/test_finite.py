"""Gradients and weights that are not finite are said, with task and step, and good checkpoints stay."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import TwoHeads, batches, equal, tasks, two_heads, weights
from secateur import Problem, Pruning, SoftThreshold, Task, fit
from secateur.storage import before
from secateur.training import Callback, Course
from secateur.training.finite.finite import Finite


def rooted(at: int) -> Problem:
    """Shade's loss is finite at every step, its gradient is not at step ``at``."""
    problem, calls = two_heads(), 0

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += torch.is_grad_enabled()
        gone = (prediction - prediction.detach()).abs().sum().sqrt() if calls == at else 0.0
        return F.l1_loss(prediction, target) + gone

    _ = problem.owners  # found by a pass of its own
    calls = 0
    return Problem(problem.model, {**problem.tasks, "shade": Task(loss)}, problem.train)


@pytest.mark.parametrize("log_every", [1, 100])
def test_a_finite_loss_with_a_gradient_that_is_not(tmp_path: Path, log_every: int) -> None:
    path = tmp_path / "c.pt"
    with pytest.raises(FloatingPointError, match=rf"gradient of task 'shade' .* at step 9; .*{path}"):
        fit(rooted(9), steps=40, checkpoint=path, checkpoint_every=4, log_every=log_every)
    kept, earlier = (torch.load(p, weights_only=True) for p in (path, before(path)))
    assert (kept["step"], earlier["step"]) == (8, 4)
    for state in (kept, earlier):
        assert all(v.isfinite().all() for v in state["model"].values() if v.is_floating_point())


def test_rows_before_it_are_there() -> None:
    rows: list = []
    with pytest.raises(FloatingPointError, match="at step 9"):
        fit(rooted(9), steps=40, log_every=5, on_log=lambda all_: rows.append(all_[-1]["step"]))
    assert rows == [5]


def test_in_a_loop_of_ones_own() -> None:
    problem = rooted(2)
    pruning = Pruning(problem, SoftThreshold(0.5), steps=6).enter()
    optimizer = pruning.attach(torch.optim.Adam(pruning.groups()))
    x, targets = problem.train[0]
    pruning.loss(problem.model(x), targets).backward()
    optimizer.step()
    pruning.step()
    optimizer.zero_grad()
    before = {name: p.detach().clone() for name, p in problem.model.named_parameters()}
    pruning.loss(problem.model(x), targets).backward()
    said = r"gradient of task 'shade' .* at step 2; .* as it was before .* or inputs that"
    with pytest.raises(FloatingPointError, match=said):
        optimizer.step()
    pruning.undo()
    assert equal(before, dict(problem.model.named_parameters()))


class Normed(TwoHeads):
    """Its running statistics are written before anybody sees a loss."""

    def __init__(self) -> None:
        super().__init__(8)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return super().forward(self.norm(x))


class Seen(Callback):
    """The network as each step left it."""

    def after_step(self, course: Course, losses: object) -> None:
        self.last = weights(course.problem)


@pytest.mark.parametrize(("at", "accumulate"), [(1, 1), (4, 1), (3, 2)])
def test_an_input_that_is_not_finite_spoils_nothing(at: int, accumulate: int) -> None:
    data = [(x * torch.nan if k == at * accumulate else x, t) for k, (x, t) in enumerate(batches(), 1)]
    problem, seen = Problem(Normed(), tasks(), data), Seen()
    seen.last = weights(problem)
    said = rf"at step {at}; .* input of step {at} holds NaN.* as it was before .* at the data"
    with pytest.raises(FloatingPointError, match=said):
        fit(problem, SoftThreshold(0.5), steps=12, accumulate=accumulate, callbacks=[seen])
    assert equal(seen.last, weights(problem))


def test_a_closure_is_seen_too() -> None:
    problem = Problem(Normed(), tasks(), batches())
    before, (x, targets) = weights(problem), problem.train[0]
    pruning = Pruning(problem, steps=2).enter()
    optimizer = pruning.attach(torch.optim.SGD(pruning.groups(), lr=0.1))

    def closure() -> Tensor:
        loss = pruning.loss(problem.model(x * torch.nan), targets, x * torch.nan)
        loss.backward()
        return loss

    with pytest.raises(FloatingPointError, match=r"loss of task .* at step 1; .* holds NaN"):
        optimizer.step(closure)
    pruning.undo()
    assert equal(before, weights(problem))


def test_where_nothing_is_read_back_it_says_that_the_weights_are_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU."""
    monkeypatch.setattr(Finite, "_on_host", lambda self: False)
    with pytest.raises(
        FloatingPointError,
        match=r"first was the gradient of task 'shade', at step 2\. The weights .* are lost",
    ):
        fit(rooted(2), steps=4)


class Masked(TwoHeads):
    """With a buffer of infinities, as masks of attention are."""

    def __init__(self) -> None:
        super().__init__(8)
        self.causal = nn.Buffer(torch.full((3, 3), -torch.inf).triu(1))


def test_infinities_that_a_network_keeps_are_no_fault(tmp_path: Path) -> None:
    fit(Problem(Masked(), tasks(), batches()), steps=2, checkpoint=tmp_path / "c.pt")


def test_a_gradient_that_did_no_harm() -> None:
    """An optimizer may leave out what it does not like."""

    class Careful(torch.optim.SGD):
        def step(self, closure: None = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.grad.nan_to_num_(0.0, 0.0, 0.0)
            super().step()

    fit(rooted(3), steps=6, log_every=1, optimizer=lambda groups: Careful(groups, lr=1e-3))


def test_two_checkpoints_are_kept_and_the_earlier_goes_on(tmp_path: Path) -> None:
    straight, path = two_heads(), tmp_path / "c.pt"
    fit(straight, SoftThreshold(0.3), steps=8)
    fit(two_heads(), SoftThreshold(0.3), steps=8, checkpoint=path, checkpoint_every=3)
    assert {p.name for p in tmp_path.iterdir()} == {"c.pt", "c.before.pt"}
    path.write_bytes(path.read_bytes()[:-1000])
    problem = two_heads()
    untouched = weights(problem)
    with pytest.raises(
        ValueError, match=r"c\.pt is .*damaged.*c\.before\.pt, of step 6, is whole: rename it to c\.pt"
    ):
        fit(problem, SoftThreshold(0.3), steps=8, checkpoint=path, checkpoint_every=3)
    assert equal(untouched, weights(problem))
    before(path).rename(path)
    fit(problem, SoftThreshold(0.3), steps=8, checkpoint=path, checkpoint_every=3)
    assert equal(weights(straight), weights(problem))
    before(path).write_bytes(b"")
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="delete it to train from the start"):
        fit(problem, SoftThreshold(0.3), steps=8, checkpoint=path)
