"""Users' loaders: an epoch goes on bit for bit whatever draws its order, and data that are split already are split once."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Subset,
    TensorDataset,
)

from contract import STEPS
from problems import equal, shuffled_loader, two_heads, weights
from secateur import AdaptiveWeighting, OneShot, Problem, SoftThreshold, fit
from secateur.problem import loader_state, rng_state, set_rng_state, undrawn
from secateur.training.resuming.identity import digest_of
from secateur.training.resuming.stream import Stream
from test_contract_training import stopped_and_resumed

SIZE = 24


class Drawing(TensorDataset):
    """Augments with a generator of its own, as many do."""

    def __init__(self, generator: Any, draw: Callable[[], float]) -> None:
        super().__init__(torch.arange(float(SIZE)))
        self.generator, self.draw = generator, draw

    def __getitem__(self, index: int) -> torch.Tensor:
        return super().__getitem__(index)[0] + self.draw()


class Counting:
    """A sampler that shuffles by the epochs that it has counted."""

    def __init__(self) -> None:
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        return iter(torch.randperm(SIZE, generator=torch.Generator().manual_seed(self.epoch)).tolist())

    def __len__(self) -> int:
        return SIZE


def drawing(kind: str) -> DataLoader:
    made: dict[str, Any] = {
        "numpy": np.random.default_rng(3),
        "legacy": np.random.RandomState(3),
        "python": random.Random(3),
    }
    generator = made[kind]
    draw = generator.normal if kind != "python" else generator.random
    return DataLoader(Subset(Drawing(generator, draw), range(SIZE)), batch_size=4, shuffle=True)


def batch_sampled() -> DataLoader:
    data = TensorDataset(torch.arange(float(SIZE)))
    order = RandomSampler(data, generator=torch.Generator().manual_seed(5))
    return DataLoader(data, batch_sampler=BatchSampler(order, 4, False))


LOADERS: dict[str, Callable[[], Any]] = {
    "numpy": lambda: drawing("numpy"),
    "legacy": lambda: drawing("legacy"),
    "python": lambda: drawing("python"),
    "batch_sampler": batch_sampled,
    "counting": lambda: DataLoader(
        TensorDataset(torch.arange(float(SIZE))), batch_size=4, sampler=Counting()
    ),
    "workers": lambda: DataLoader(
        TensorDataset(torch.arange(float(SIZE))), batch_size=4, shuffle=True, num_workers=1
    ),
}


def values(batches: Iterator[Any]) -> list[list[float]]:
    return [(b[0] if isinstance(b, (list, tuple)) else b).tolist() for b in batches]


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS.keys())
@pytest.mark.parametrize("stop", [0, 3, 6, 8, 13])
def test_a_stream_goes_on_as_if_it_had_not_stopped(
    make: Callable[[], Any], stop: int, tmp_path: Path
) -> None:
    def seeded() -> Stream:
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        return Stream(make())

    straight = values(islice(seeded(), 16))
    begun = seeded()
    head = values(islice(begun, stop))
    torch.save({"stream": begun.state_dict(), "rng": rng_state()}, tmp_path / "s.pt")
    saved = torch.load(tmp_path / "s.pt", weights_only=True)
    again = Stream(make())
    again.seek(stop, saved["stream"])
    set_rng_state(saved["rng"])
    assert head + values(islice(again, 16 - stop)) == straight


def test_fit_goes_on_with_a_users_batch_sampler(tmp_path: Path) -> None:
    def make() -> Problem:
        problem, inner = two_heads(), shuffled_loader()
        order = RandomSampler(inner.dataset, generator=torch.Generator().manual_seed(5))
        loader = DataLoader(inner.dataset, batch_sampler=BatchSampler(order, 4, False))
        return Problem(problem.model, problem.tasks, loader)

    straight = make()
    fit(straight, SoftThreshold(0.2), AdaptiveWeighting(), steps=STEPS)
    stopped = stopped_and_resumed(make, lambda: SoftThreshold(0.2), tmp_path / "c.pt", (5, 13, 23))
    assert equal(weights(straight), weights(stopped))


def test_data_that_are_split_already_are_split_once_and_told_the_epoch() -> None:
    data = TensorDataset(torch.arange(float(SIZE)))
    seen: list[list[float]] = []
    for rank in range(2):
        sampler = DistributedSampler(data, num_replicas=2, rank=rank, seed=1)
        stream = Stream(DataLoader(data, batch_size=4, sampler=sampler), rank, 2)
        seen.append([v for batch in values(islice(stream, 6)) for v in batch])
    for epoch in range(2):
        own, other = (set(s[epoch * 12 : (epoch + 1) * 12]) for s in seen)
        assert own | other == set(range(SIZE))
    assert seen[0][:12] != seen[0][12:], "another order in every epoch"


def test_persistent_workers_are_said(tmp_path: Path) -> None:
    problem, inner = two_heads(), shuffled_loader()
    loader = DataLoader(inner.dataset, batch_size=4, num_workers=1, persistent_workers=True)
    with pytest.warns(UserWarning, match="will not go on bit for bit: its persistent workers"):
        fit(Problem(problem.model, problem.tasks, loader), steps=2, checkpoint=tmp_path / "c.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(Problem(problem.model, problem.tasks, loader), steps=2)


@pytest.mark.parametrize("generator", ["python", "numpy"])
def test_augmentation_by_other_generators_is_seeded(generator: str) -> None:
    class Noisy(list):
        def __iter__(self) -> Iterator[Any]:
            for x, targets in super().__iter__():
                draw = random.random() if generator == "python" else np.random.rand()
                yield x * draw, targets

    found = []
    for _ in range(2):
        problem = two_heads()
        fit(Problem(problem.model, problem.tasks, Noisy(problem.train)), steps=6, seed=7)
        found.append(weights(problem))
    assert equal(*found)


def test_scores_taken_on_the_way_draw_nothing_from_the_loader(tmp_path: Path) -> None:
    """The epoch is replayed without them, so that the next one's order would be another."""

    def make() -> Problem:
        return replace(two_heads(), train=shuffled_loader(torch.Generator().manual_seed(7)))

    def stop(rows: list) -> None:
        if rows[-1]["step"] >= 6:
            raise KeyboardInterrupt

    whole, killed, again = make(), make(), make()
    given = {"steps": 14, "log_every": 1, "checkpoint_every": 5}
    fit(whole, OneShot(0.5, at=0.2), **given)
    path = tmp_path / "on.ckpt"
    with pytest.raises(KeyboardInterrupt):
        fit(killed, OneShot(0.5, at=0.2), **given, checkpoint=path, on_log=stop)
    fit(again, OneShot(0.5, at=0.2), **given, checkpoint=path)
    assert equal(weights(whole), weights(again))


def told(loader: DataLoader) -> tuple[str, str]:
    state = loader_state(loader)
    return digest_of(state), repr(state)


def test_what_is_looked_at_aside_leaves_generators_and_counters() -> None:
    for loader in (drawing("numpy"), drawing("python"), batch_sampled()):
        first = told(loader)
        with undrawn(loader):
            values(iter(loader))
            assert told(loader) != first
        assert told(loader) == first


def test_persistent_workers_go_on_where_they_were() -> None:
    loader = DataLoader(TensorDataset(torch.arange(8)), batch_size=2, num_workers=1, persistent_workers=True)
    under_way = iter(loader)
    first = values(islice(under_way, 1))
    with undrawn(loader):
        assert len(values(islice(loader, 3))) == 3
    assert first + values(under_way) == values(iter(DataLoader(loader.dataset, batch_size=2)))
