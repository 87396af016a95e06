"""Processes that share each batch end, to rounding, with the network that one process trains on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from problems import IGNORED, TwoHeads, equal, masked, weights
from processes.two import in_two
from secateur.methods import (
    DiSparse,
    GroupLasso,
    IterativeMagnitude,
    LearnedThreshold,
    OneShot,
    SoftThreshold,
)
from secateur.problem import Problem, Task
from secateur.training import Callback, Course, Distillation, fit
from secateur.weighting import AdaptiveWeighting, UncertaintyWeighting

pytestmark = pytest.mark.forks
BATCH = 12


@dataclass(frozen=True)
class Pieces:
    """Batch k of twelve samples, a function of k; half of the labels of the last samples are missing, and so means differ."""

    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[Any]:
        return (self.batch(k) for k in range(4))

    def from_step(self, step: int) -> Iterator[Any]:
        return map(self.batch, count(step))

    def share(self, rank: int, world: int) -> Pieces:
        if BATCH % world:
            raise ValueError(f"batch is {BATCH}, which {world} processes cannot share")
        return Pieces(rank, world)

    def batch(self, k: int) -> tuple[Tensor, dict[str, Tensor]]:
        draw = torch.Generator().manual_seed(k % 4)
        x = torch.randn(BATCH, 3, 8, 8, generator=draw)
        colour = x.sum(1).clamp(-2, 2).add(2).round().long()
        shade = x.mean(1, keepdim=True)
        colour[BATCH // 2 :, :5] = IGNORED
        shade[BATCH // 2 :, :, :, :6] = -1e4
        own = slice(self.rank * BATCH // self.world, (self.rank + 1) * BATCH // self.world)
        return x[own], {"colour": colour[own], "shade": shade[own]}


def entropy(prediction: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(prediction, target, ignore_index=IGNORED)


def problem(counted: bool = True) -> Problem:
    torch.manual_seed(0)
    counts: list[Any] = [None, None]
    if counted:
        counts = [lambda _, target: (target != IGNORED).sum(), lambda _, target: (target > -1e3).sum()]
    spec = {"colour": Task(entropy, count=counts[0]), "shade": Task(masked, count=counts[1])}
    return Problem(TwoHeads(), spec, Pieces(), list(Pieces()))


def settings(name: str) -> dict[str, Any]:
    torch.manual_seed(1)
    return {
        "dense": dict[str, Any],
        "soft": lambda: {"method": SoftThreshold(0.2), "weighting": AdaptiveWeighting()},
        "lasso": lambda: {
            "method": GroupLasso(density=0.5, metric="euclidean"),
            "weighting": UncertaintyWeighting(),
        },
        "str": lambda: {"method": LearnedThreshold(0.3, "layer", -6.0, "controller")},
        "disparse": lambda: {"method": DiSparse(0.2, "snip", batches=2), "weighting": AdaptiveWeighting()},
        "magnitude": lambda: {"method": OneShot(0.3, "magnitude")},
        "rounds": lambda: {"method": IterativeMagnitude(0.5, rounds=2)},
        "aggregated": lambda: {"method": SoftThreshold(0.2), "aggregator": lambda rows: rows.mean(0)},
        "taught": lambda: {"distillation": Distillation(TwoHeads(), 1e-3)},
        "accumulated": lambda: {"method": SoftThreshold(0.2), "accumulate": 2},
    }[name]()


def sgd(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.05, momentum=0.9)  # Adam's first steps make a one of any rounding


def trained(name: str, world: int, counted: bool = True, **more: Any) -> dict[str, Tensor]:
    made, asked = problem(counted), settings(name)
    fabric = Fabric(accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto")
    fabric.launch()
    history = fit(made, **{"steps": 8, **asked, **more}, optimizer=sgd, fabric=fabric, progress=False)
    beside = asked["weighting"].state_dict() if name == "lasso" else {}
    loss = {f"loss {t}": torch.tensor(v) for t, v in history.rows[-1]["loss"].items()}
    return {**weights(made), **beside, **loss, "drawn": torch.rand(3)}


def difference(a: dict[str, Any], b: dict[str, Any]) -> float:
    """The largest, relative to the largest value of its tensor."""
    assert a.keys() == b.keys()
    pairs = [(torch.as_tensor(a[n]).double(), torch.as_tensor(b[n]).double()) for n in a]
    return max(float((x - y).abs().max() / x.abs().max().clamp(min=1e-3)) for x, y in pairs)


def same(one: dict[str, Any], found: dict[str, Any]) -> bool:
    """Up to rounding, and the same zeros."""
    zeros = all(torch.equal(one[n] == 0, found[n] == 0) for n in one if n.endswith("weight"))
    return zeros and difference(one, found) < 1e-4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        "dense",
        "soft",
        "lasso",
        "str",
        "disparse",
        "magnitude",
        "rounds",
        "aggregated",
        "taught",
        "accumulated",
    ],
)
def test_two_are_as_one(name: str, tmp_path: Path) -> None:
    one = trained(name, 1)
    assert all(same(one, found) for found in in_two(lambda rank: trained(name, 2), tmp_path / "two"))


@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_cannot_be_counted_is_computed_on_all(tmp_path: Path) -> None:
    one = trained("soft", 1, counted=False)
    two = in_two(lambda rank: trained("soft", 2, counted=False), tmp_path / "two")
    assert all(same(one, found) for found in two)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("then", [1, 2, 3])
def test_a_run_goes_on_with_another_number_of_processes(then: int, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"

    def stopped(rank: int) -> dict[str, Any]:
        with pytest.raises(KeyboardInterrupt):
            trained("soft", 2, checkpoint=path, checkpoint_every=4, callbacks=[Stop()])
        return {}

    in_two(stopped, tmp_path / "first")
    one = trained("soft", 1)

    def resumed(rank: int) -> dict[str, Any]:
        return trained("soft", then, checkpoint=path)

    found = [resumed(0)] if then == 1 else in_two(resumed, tmp_path / "then", then)
    assert all(same(one, each) for each in found)


class Stop(Callback):
    """Interrupts the fifth step, when the fourth has been saved."""

    decides = False

    def after_step(self, course: Course, losses: object) -> None:
        if course.step == 5:
            raise KeyboardInterrupt


def test_processes_that_read_other_data_are_named(tmp_path: Path) -> None:
    def share(rank: int) -> dict[str, Any]:
        made = problem()
        if rank == 1:
            made = Problem(made.model, made.tasks, Other())
        before, fabric = weights(made), Fabric(accelerator="cpu", devices=2, strategy="ddp")
        fabric.launch()
        said = "Process 1 trains something else than the first: the first and the last batch of its data is"
        with pytest.raises(ValueError, match=said):
            fit(made, SoftThreshold(0.2), steps=2, fabric=fabric, progress=False)
        with pytest.raises(ValueError, match=r"Process 1 .*: seed is 0 in the first and 1 there"):
            fit(problem(), SoftThreshold(0.2), steps=2, seed=rank, fabric=fabric, progress=False)
        assert equal(before, weights(made))
        return {}

    in_two(share, tmp_path / "two")


class Other(Pieces):
    """Other samples."""

    def batch(self, k: int) -> tuple[Tensor, dict[str, Tensor]]:
        return super().batch(k + 1)


@pytest.mark.filterwarnings("ignore")
def test_what_no_task_reaches_is_waited_for_and_left_alone(tmp_path: Path) -> None:
    def share(rank: int, world: int = 2) -> dict[str, Any]:
        made = problem()
        made.model.idle = nn.Linear(3, 3)
        fabric = Fabric(accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto")
        fabric.launch()
        fit(made, SoftThreshold(0.2), steps=3, optimizer=decaying, fabric=fabric, progress=False)
        return weights(made)

    one = share(0, 1)
    for found in in_two(share, tmp_path / "two"):
        assert torch.equal(found["idle.bias"], one["idle.bias"])
        assert same(one, found)


def decaying(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.05, weight_decay=0.1)


@pytest.mark.filterwarnings("ignore")
def test_gradients_of_the_network_are_sent_once(tmp_path: Path) -> None:
    """A method may have a group for the network's own weights; DDP sends what they get, and what is sent beside is small."""

    def share(rank: int) -> dict[str, Any]:
        made, sent = problem(), list[int]()
        fabric, reduce = Fabric(accelerator="cpu", devices=2, strategy="ddp"), distributed.all_reduce
        fabric.launch()

        def counting(value: Tensor, *more: Any) -> Any:
            sent.append(value.numel())
            return reduce(value, *more)

        setattr(distributed, "all_reduce", counting)  # noqa: B010
        lasso = GroupLasso(density=0.5, metric="euclidean")
        fit(made, lasso, UncertaintyWeighting(), steps=2, optimizer=sgd, fabric=fabric, progress=False)
        return {"largest": torch.tensor(max(sent)), "norm": torch.tensor(2 * 16 + 1)}

    for found in in_two(share, tmp_path / "two"):
        assert found["largest"] == found["norm"]
