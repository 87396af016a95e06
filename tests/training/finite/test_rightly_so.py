"""What is no fault of a training goes on: batches left out, infinities of masks, modules that refuse, buffers of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from problems import TwoHeads, batches, equal, tasks, two_heads, weights
from secateur import GradualMagnitude, Problem, Pruning, Sparsifier, fit, save
from secateur.training.finite.intact import Intact


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("clears_first", [False, True])
@pytest.mark.parametrize("to_none", [False, True])
def test_a_batch_that_the_loop_leaves_out(backward: bool, clears_first: bool, to_none: bool) -> None:
    problem, out = two_heads(), 0
    problem.model.trunk[1] = nn.Identity()  # pyright: ignore  # no statistics, which it would spoil
    with Pruning(problem, steps=5) as pruning:
        optimizer = pruning.attach(torch.optim.SGD(pruning.groups(), lr=1e-3))
        for at, (x, targets) in enumerate(batches(6)):
            x = x * torch.nan if at == 2 else x
            loss = pruning.loss(problem.model(x), targets, x)
            if clears_first:
                optimizer.zero_grad(to_none)
            if backward:
                loss.backward()
            if not loss.isfinite():
                out += 1
                optimizer.zero_grad(to_none)
                continue
            if not backward:
                loss.backward()
            optimizer.step()
            pruning.step()
            optimizer.zero_grad(to_none)
    assert out == 1


def test_one_of_an_accumulated_step_is_not_left_out() -> None:
    problem = two_heads()
    pruning = Pruning(problem, steps=2, accumulate=2).enter()
    optimizer = pruning.attach(torch.optim.SGD(pruning.groups(), lr=1e-3))
    for at, (x, targets) in enumerate(batches(2)):
        x = x * torch.nan if at == 0 else x
        pruning.loss(problem.model(x), targets, x).backward()
    with pytest.raises(FloatingPointError, match=r"loss of task .* at step 1"):
        optimizer.step()
    pruning.undo()


class Infinite(TwoHeads):
    """A mask of another size from the second pass on, and a minimum that begins anew."""

    def __init__(self) -> None:
        super().__init__(8)
        self.mask, self.lowest = nn.Buffer(torch.zeros(2, 2)), nn.Buffer(torch.tensor(0.0))
        self.passes = 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if self.training:
            self.passes += 1
            if self.passes > 1:
                self.mask = torch.full((3, 3), -torch.inf).triu(1)
            self.lowest.fill_(torch.inf if self.passes % 3 == 0 else float(x.detach().min()))
        return super().forward(x)


def test_infinities_that_come_later_are_no_fault(tmp_path: Path) -> None:
    problem = Problem(Infinite(), tasks(), batches())
    _ = problem.owners
    problem.model.passes = 0  # pyright: ignore
    fit(problem, steps=5, log_every=1, checkpoint=tmp_path / "c.pt", progress=False)
    assert problem.model.mask.isinf().any()  # pyright: ignore


class OwnNorm(Infinite):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.passes = 2  # and so the minimum stays infinite
        return super().forward(x)


def test_infinity_that_stays_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="lowest of the model became infinite"):
        fit(Problem(OwnNorm(), tasks(), batches()), steps=3, progress=False)


class Refusing(TwoHeads):
    """Its extra state cannot be had after some calls."""

    def __init__(self, calls: int) -> None:
        super().__init__(8)
        self.calls = calls

    def get_extra_state(self) -> Any:
        self.calls -= 1
        if self.calls < 0:
            raise RuntimeError("freeze the vocabulary first")
        return {}

    def set_extra_state(self, state: Any) -> None:
        raise RuntimeError("no")


def test_a_module_that_refuses_its_extra_state() -> None:
    fit(Problem(Refusing(6), tasks(), batches()), steps=6, progress=False)
    with Pruning(Problem(Refusing(0), tasks(), batches()), steps=1) as pruning:
        pruning.leave(early=True)


def test_a_dear_extra_state_is_asked_for_twice() -> None:
    class Dear(TwoHeads):
        calls = 0

        def get_extra_state(self) -> Any:
            self.calls += 1
            return [[i] for i in range(20_000)]

    model = Dear(8)
    intact = Intact(model)
    for _ in range(5):
        intact.go_on()
    assert model.calls == 2
    intact.put_back()
    assert intact.lost == ["_extra_state"]


def test_large_buffers_are_not_copied_and_it_is_said() -> None:
    class Queue(TwoHeads):
        def __init__(self) -> None:
            super().__init__(8)
            self.queue, self.still = nn.Buffer(torch.zeros(1000, 100)), nn.Buffer(torch.zeros(1000, 100))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            if self.training:
                self.queue[:2] += 1
                self.still = self.still + 1
            return super().forward(x)

    data = [(x * torch.nan if k == 3 else x, t) for k, (x, t) in enumerate(batches(), 1)]
    problem = Problem(Queue(), tasks(), data)
    _ = problem.owners
    with pytest.raises(FloatingPointError, match="as it was before that step, but for queue: copied"):
        fit(problem, steps=5, progress=False)
    assert float(problem.model.still[0, 0]) == float(problem.model.still.max())  # pyright: ignore


def adjacency(layout: str) -> Tensor:
    dense = torch.eye(4) + torch.eye(4).roll(1, 0)
    return getattr(dense, f"to_sparse{layout}")()


class Graph(TwoHeads):
    def __init__(self, layout: str, persistent: bool = True) -> None:
        super().__init__(8)
        self.register_buffer("adjacency", adjacency(layout), persistent)


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", ["", "_csr"])
def test_sparse_buffers(layout: str, tmp_path: Path) -> None:
    problem, path = Problem(Graph(layout), tasks(), batches()), tmp_path / "c.pt"
    fit(problem, GradualMagnitude(0.3), steps=4, checkpoint=path, log_every=1, progress=False)
    again = Problem(Graph(layout), tasks(), batches())
    fit(again, GradualMagnitude(0.3), steps=4, checkpoint=path, progress=False)
    dense: Any = again.model
    assert torch.equal(dense.adjacency.to_dense(), adjacency(layout).to_dense())
    with pytest.raises(ValueError, match="adjacency of the model is sparse or nested; keep it dense"):
        save(problem.model, tmp_path / "net.safetensors")


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", ["", "_csr"])
def test_sparse_buffers_go_back(layout: str) -> None:
    model: Any = Graph(layout)
    intact = Intact(model)
    model.adjacency.values().mul_(2) if layout else model.adjacency.mul_(2)
    intact.put_back()
    assert torch.equal(model.adjacency.to_dense(), adjacency(layout).to_dense())
    model.adjacency = torch.full((4, 4), torch.nan).to_sparse()
    assert list(intact.suspects()) == ["adjacency"]
    intact.put_back()
    assert torch.equal(model.adjacency.to_dense(), adjacency(layout).to_dense())
    assert intact.lost == []


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")
def test_buffers_of_scripted_modules_go_back() -> None:
    norm = nn.BatchNorm2d(3)
    model: Any = nn.Sequential(nn.Conv2d(3, 3, 1), torch.jit.script(norm))
    model(torch.randn(2, 3, 4, 4))
    intact = Intact(model)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(torch.full((2, 3, 4, 4), torch.nan))
    assert {name.rpartition(".")[2] for name in intact.suspects()} == {"running_mean", "running_var"}
    intact.put_back()
    assert before
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())
    assert intact.lost == []


class Expanded(TwoHeads):
    def __init__(self) -> None:
        super().__init__(8)
        self.scale = nn.Buffer(torch.ones(1).expand(4))
        self.unset = nn.Buffer(torch.full((1,), torch.nan).expand(4))


class No(Sparsifier):
    def start(self, problem: Problem, steps: int) -> None:
        model: Any = problem.model
        torch.nn.init.zeros_(model.scale[:1])
        raise ValueError("no")


def test_what_expand_made_hides_no_refusal() -> None:
    problem = Problem(Expanded(), tasks(), batches())
    before = weights(problem)
    with pytest.raises(ValueError, match="no"):
        fit(problem, No(), steps=3, progress=False)
    assert float(problem.model.scale[3]) == 1  # pyright: ignore
    fit(problem, GradualMagnitude(0.3), steps=3, progress=False)
    assert not equal(before, weights(problem))


@pytest.mark.filterwarnings("ignore:_extra_state is not taken back")
def test_a_refusal_locks_nothing_whatever_the_module_does() -> None:
    problem = Problem(Refusing(100), tasks(), batches())

    class Never(Sparsifier):
        def start(self, problem: Problem, steps: int) -> None:
            raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            fit(problem, Never(), steps=3, progress=False)
