"""Two processes whose batches lack tasks: nothing crashes or hangs, and they end with one network."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from problems import TwoHeads, equal, shuffled_loader, tasks, two_heads, weights
from processes.two import in_two
from secateur import Pruning
from secateur.methods import DiSparse, GroupLasso, LearnedThreshold, OneShot, SoftThreshold
from secateur.problem import Problem, average_gradients
from secateur.pruning import Sparsifier
from secateur.training import fit
from secateur.weighting import AdaptiveWeighting, UncertaintyWeighting

pytestmark = pytest.mark.forks
STRATEGIES = ["ddp", "ddp_find_unused_parameters_true"]


def once_each(loader: list) -> list:
    """Batches of both tasks, of one, of the other, and so on: of two processes each lacks now this one, now that one, now none."""
    kept = [
        ("colour", "shade"),
        ("colour",),
        ("shade",),
        ("colour",),
        ("colour",),
        ("colour",),
        ("shade",),
        ("colour", "shade"),
    ]
    return [
        (x, {t: targets[t] for t in names}) for (x, targets), names in zip(loader * 2, kept, strict=False)
    ]


def problem() -> Problem:
    made = two_heads()
    return Problem(made.model, made.tasks, once_each(list(made.train)), made.val)


def settings(name: str) -> dict[str, Any]:
    return {
        "dense": dict[str, Any],
        "str": lambda: {
            "method": LearnedThreshold(0.2, "layer", -6.0, "controller"),
            "weighting": AdaptiveWeighting(),
        },
        "penalty": lambda: {
            "method": LearnedThreshold(0.2, pressure="l1_density", initial=-6.0, deadline=0.5)
        },
        "uncertainty": lambda: {"method": SoftThreshold(0.2), "weighting": UncertaintyWeighting()},
        "aggregated": lambda: {"method": SoftThreshold(0.2), "aggregator": lambda rows: rows.max(0).values},
    }[name]()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "name",
    [
        "dense",
        "str",
        "aggregated",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("penalty", "uncertainty")),
    ],
)
def test_batches_that_lack_tasks(name: str, strategy: str, tmp_path: Path) -> None:
    def train(rank: int) -> dict[str, Any]:
        made, asked = problem(), settings(name)
        fabric = Fabric(accelerator="cpu", devices=2, strategy=strategy)
        fabric.launch()
        fit(made, **asked, steps=20, validate_every=10, fabric=fabric)
        beside = asked["weighting"].state_dict() if name == "uncertainty" else {}
        return {**weights(made), **beside}

    one, two = in_two(train, tmp_path / "two")
    assert equal(one, two)
    assert one["trunk.1.num_batches_tracked"] == 20


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["threshold", "aggregated", "lasso"])
def test_thresholds_masks_loss_weights_and_the_density(name: str, tmp_path: Path) -> None:
    def train(rank: int) -> dict[str, Any]:
        made, weighting = two_heads(), UncertaintyWeighting() if name == "lasso" else None
        method = GroupLasso(density=0.2) if name == "lasso" else SoftThreshold(0.2)
        fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
        fabric.launch()
        aggregator = (lambda rows: rows.max(0).values) if name == "aggregated" else None
        fit(made, method, weighting, steps=20, fabric=fabric, aggregator=aggregator)
        return {**weights(made), **(weighting.state_dict() if weighting else {})}

    one, two = in_two(train, tmp_path / "two")
    assert equal(one, two)
    if name == "lasso":
        assert one["s"].any(), "the loss weights have moved"
    else:
        kernels = [value for value in one.values() if value.dim() == 4]
        kept, size = sum(int(k.count_nonzero()) for k in kernels), sum(k.numel() for k in kernels)
        assert kept == round(0.2 * size)


class Apart(nn.Module):
    """Computes the tasks that it is given an input for, and no other."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TwoHeads()

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        features = {task: torch.relu(self.inner.trunk(value)) for task, value in x.items()}
        return {task: getattr(self.inner, task)(value) for task, value in features.items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_network_that_computes_what_it_is_given_alone(strategy: str, tmp_path: Path) -> None:
    def train(rank: int) -> dict[str, Any]:
        torch.manual_seed(0)
        data = [(dict.fromkeys(targets, x), targets) for x, targets in once_each(list(two_heads().train))]
        made = Problem(Apart(), tasks(), data)
        fabric = Fabric(accelerator="cpu", devices=2, strategy=strategy)
        fabric.launch()
        fit(made, SoftThreshold(0.2), steps=10, fabric=fabric)
        return weights(made)

    assert equal(*in_two(train, tmp_path / "two"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("finds", [False, True])
def test_a_loop_of_ones_own(finds: bool, tmp_path: Path) -> None:
    def train(rank: int) -> dict[str, Any]:
        made = problem()
        weighting = UncertaintyWeighting()
        method = LearnedThreshold(0.2, "layer", -6.0, "controller")
        batches = list(made.train)[rank::2]
        with Pruning(made, method, weighting, steps=12) as pruning:
            model = DistributedDataParallel(made.model, find_unused_parameters=finds)
            optimizer = pruning.attach(torch.optim.AdamW(pruning.groups(), lr=1e-2))
            for step in range(12):
                x, targets = batches[step % len(batches)]
                pruning.loss(model(x), targets).backward()
                optimizer.step()
                optimizer.zero_grad()
                pruning.step()
        return {**weights(made), **weighting.state_dict()}

    assert equal(*in_two(train, tmp_path / "two"))


def test_a_state_of_two_processes_is_refused_by_one(tmp_path: Path) -> None:
    """In a loop of one's own; two take it up."""

    def train(rank: int) -> dict[str, Any]:
        with Pruning(two_heads(), SoftThreshold(0.2), steps=4) as pruning:
            state = pruning.state_dict()
            pruning.load_state_dict(state)
            pruning.leave(early=True)
        return state

    state, _ = in_two(train, tmp_path / "two")
    with Pruning(two_heads(), SoftThreshold(0.2), steps=4) as pruning:
        with pytest.raises(ValueError, match=r"processes is 2 there and 1 here \(start as many as there"):
            pruning.load_state_dict(state)
        pruning.load_state_dict({**state, "identity": pruning.state_dict()["identity"]})
        pruning.leave(early=True)


def test_a_task_that_no_process_has_is_left_alone_by_the_step(tmp_path: Path) -> None:
    """As in a single process: no momentum and no decay moves its head."""

    def train(rank: int) -> dict[str, Any]:
        made = two_heads()
        data = [(x, {"colour": t["colour"]}) for x, t in made.train]
        both = Problem(made.model, made.tasks, [*made.train][:2] + data)
        before = copy.deepcopy(made.model.state_dict())
        with Pruning(both, steps=1) as pruning:
            model = DistributedDataParallel(made.model)
            optimizer = pruning.attach(torch.optim.SGD(pruning.groups(), lr=0.1, weight_decay=0.1))
            pruning.loss(model(data[rank][0]), data[rank][1]).backward()
            optimizer.step()
            pruning.step()
        return {
            n: torch.equal(v, before[n]) for n, v in made.model.state_dict().items() if n.endswith("weight")
        }

    for found in in_two(train, tmp_path / "two"):
        assert [n for n, same in found.items() if same] == ["shade.0.weight", "shade.2.weight"]


@pytest.mark.parametrize("method", [OneShot, DiSparse])
@pytest.mark.parametrize("split", [False, True])
def test_scores_see_the_data_of_a_single_process(
    method: type[Sparsifier], split: bool, tmp_path: Path
) -> None:
    """Masks are those of one process, also where a ``DistributedSampler`` splits the data."""

    def masks(rank: int, world: int) -> dict[str, Tensor]:
        made, loader = two_heads(), shuffled_loader(torch.Generator().manual_seed(3))
        data: Any = loader
        if split:
            sampler = DistributedSampler(loader.dataset, world, rank, seed=5)
            data = DataLoader(loader.dataset, batch_size=4, sampler=sampler)
        pruned = Problem(made.model, made.tasks, data)
        with Pruning(pruned, method(0.2, "snip", batches=3), steps=1) as pruning:
            pruning.leave(early=True)
        if split:
            assert (sampler.num_replicas, sampler.rank, len(sampler)) == (world, rank, 24 // world)
        return {n: v != 0 for n, v in weights(pruned).items()}

    two = in_two(lambda rank: masks(rank, 2), tmp_path / "two")
    alone = masks(0, 1)
    assert equal(two[0], alone)
    assert equal(two[1], alone)


def test_gradients_are_averaged_in_one_message(tmp_path: Path) -> None:
    def average(rank: int) -> dict[str, Any]:
        made = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(3))]
        made[0].grad = torch.tensor([1.0, 2.0]) * (rank + 1)
        if rank:
            made[1].grad = torch.tensor(4.0)
        average_gradients(made)
        return {str(i): p.grad for i, p in enumerate(made) if p.grad is not None}

    for found in in_two(average, tmp_path / "two"):
        assert {name: value.tolist() for name, value in found.items()} == {"0": [1.5, 3.0], "1": 2.0}
