"""Runs of the command line, in process, that take a second."""

from __future__ import annotations

from pathlib import Path

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
