"""Runs of the command line, in process, that take a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from secateur.cli import main

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


def train(recipe: str, out: Path, *options: str, steps: int = 12) -> int:
    return main(["train", recipe, *TINY, "--steps", str(steps), "--out", str(out), *options])


class Small(nn.Module):
    """Two convolutions and a head for each task, for what exports a network many times."""

    def __init__(self, tasks: Mapping[str, int]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, 4, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU())
        self.heads = nn.ModuleDict({task: nn.Conv2d(16, channels, 1) for task, channels in tasks.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.body(x)
        return {task: head(y) for task, head in self.heads.items()}


def small(tasks: Mapping[str, int]) -> nn.Module:
    """As a command line names it: ``tiny_runs.small``."""
    return Small(tasks)
