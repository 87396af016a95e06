"""Runs of the command line, in process, that take a second."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur.cli import main
from secateur.data import Data, rooms
from secateur.runs import RunFolder, Trust, read_problem
from secateur.storage import load

TINY = [
    "--model.width",
    "0.05",
    "--size",
    "24x32",
    "--batch",
    "4",
    "--data.train_count",
    "16",
    "--data.val_count",
    "4",
    "--data.test_count",
    "8",
    "--device",
    "cpu",
]

# Of two convolutions instead of 36: for what is about files and words, where exporting is most of the time.
LITTLE = ["--model", "tiny_runs.small", *TINY[2:]]
TRUST = ["--trust", "tiny_runs"]
TRUSTED = Trust(frozenset({"tiny_runs"}))


def train(recipe: str, out: Path, *options: str, steps: int = 12, words: list[str] = TINY) -> int:
    return main(["train", recipe, *words, "--steps", str(steps), "--out", str(out), *options])


def weights_of(out: Path) -> dict[str, Tensor]:
    """All tensors of a finished run's network."""
    folder = RunFolder(out)
    problem, _ = read_problem(folder, TRUSTED)
    return load(problem.model, folder.weights).state_dict()


class Small(nn.Module):
    """Two convolutions and a head for each task, for what exports a network many times."""

    def __init__(self, tasks: Mapping[str, int], width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, 4, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU()
        )
        self.heads = nn.ModuleDict({task: nn.Conv2d(width, channels, 1) for task, channels in tasks.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.body(x)
        return {task: head(y) for task, head in self.heads.items()}


def small(tasks: Mapping[str, int], width: int = 16) -> nn.Module:
    """As a command line names it: ``tiny_runs.small``."""
    return Small(tasks, width)


def draw() -> None:
    """From every global generator."""
    _ = random.random(), np.random.rand(), torch.rand(1)


class Draws:
    """A loader or a data set of somebody's own, that draws from the global generators whenever it is read."""

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    def __len__(self) -> int:
        return len(self.inside)

    def __iter__(self) -> Iterator[Any]:
        draw()
        yield from self.inside

    def __getitem__(self, index: int) -> Any:
        draw()
        return self.inside[index]


def noisy(
    *, size: tuple[int, int], batch: int, seed: int, train_count: int, val_count: int, test_count: int
) -> Data:
    """As a command line names it: ``tiny_runs.noisy``, data that draw when they are made and read."""
    draw()
    counts = {"train_count": train_count, "val_count": val_count, "test_count": test_count}
    made = rooms(size=size, batch=batch, seed=seed, **counts)
    return replace(made, train=Draws(made.train), val=Draws(made.val), test=Draws(made.test))
