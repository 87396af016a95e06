"""A stream of ``datasets`` in a loader of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from problems import equal, weights
from secateur.problem import Problem, Task
from secateur.training import fit
from secateur.training.resuming.stream import Stream

datasets: Any = pytest.importorskip("datasets", reason="datasets not installed")


def rows() -> Iterator[dict[str, Any]]:
    return ({"x": float(i)} for i in range(8))


def loader(workers: int = 0) -> DataLoader[Any]:
    stream = datasets.IterableDataset.from_generator(rows).shuffle(seed=0, buffer_size=8)
    return DataLoader(stream, batch_size=2, num_workers=workers)


def values(stream: Iterator[Any], count: int) -> list[float]:
    return [float(v) for batch in islice(stream, count) for v in batch["x"]]


@pytest.mark.parametrize("workers", [0, 1])
def test_it_is_shuffled_anew_in_each_epoch(workers: int) -> None:
    seen = values(Stream(loader(workers)), 12)
    epochs = [seen[:8], seen[8:16], seen[16:]]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_stopped_training_goes_on(tmp_path: Path) -> None:
    def problem() -> Problem:
        torch.manual_seed(0)
        model = nn.ModuleDict({"y": nn.Linear(1, 1)})
        return Problem(
            model,
            {"y": Task(nn.functional.mse_loss)},
            loader(),
            unpack=lambda b: (b["x"][:, None].float(), {"y": b["x"][:, None].float() / 8}),
            call=lambda model, x: {"y": model["y"](x)},
        )

    def stopped(found: list[Any]) -> None:
        if found and found[-1]["step"] == 7:
            raise KeyboardInterrupt

    whole, rest = problem(), problem()
    fit(whole, steps=11, progress=False)
    kept: dict[str, Any] = {
        "steps": 11,
        "checkpoint": tmp_path / "c.pt",
        "checkpoint_every": 6,
        "log_every": 1,
    }
    with pytest.raises(KeyboardInterrupt):
        fit(problem(), **kept, progress=False, on_log=stopped)
    fit(rest, **kept, progress=False)
    assert equal(weights(whole), weights(rest))
