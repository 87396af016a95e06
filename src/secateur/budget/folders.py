"""Folders of networks pruned to budgets: whose they are, so that the same command goes on or returns, and another is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from secateur.budget.limits import Budget
from secateur.runs import Config, RunFolder
from secateur.storage import is_leftover


def folders_of(budgets: Sequence[Budget], out: Path) -> list[RunFolder]:
    """``out`` itself for one budget, a folder in it for each of several.

    Raises:
        ValueError: If two budgets are the same, or a folder holds something that is no run.
    """
    paths = [out if len(budgets) == 1 else out / _named(budget) for budget in budgets]
    if len(set(paths)) < len(paths):
        raise ValueError(f"prune: two budgets are the same: {', '.join(map(str, budgets))}; leave one out.")
    found = [RunFolder(path) for path in paths]
    for run in found:
        if run.path.exists() and not run.config.exists() and not _empty(run.path):
            raise ValueError(f"prune: {run.path} exists and is not empty; choose another --out.")
    return found


def asked(
    config: Config, budgets: Sequence[Budget], weights: Path, options: Mapping[str, Any]
) -> list[Config]:
    """The configuration of each network's folder: that of the dense run, and how this one came from it.

    Args:
        config: Of the network and data.
        budgets: Each network goes on from those before, so they are part of it.
        weights: The file that all begin with.
        options: Plain values that decide the result.

    Raises:
        FileNotFoundError: If there are no weights.
    """
    if weights.is_dir():
        inside = sorted(p for p in weights.iterdir() if p.suffix in (".safetensors", ".pth", ".pt"))
        there = (
            f"there is {', '.join(map(str, inside[:3]))}"
            if inside
            else "no file in it ends in .safetensors, .pth or .pt"
        )
        raise FileNotFoundError(f"--init: {weights} is a folder; give the file of the weights ({there}).")
    if not weights.is_file():
        raise FileNotFoundError(f"No weights at {weights}; train first, or check the path.")
    with weights.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    limits = [
        {**budget.limits, **{kind: f"{share}x" for kind, share in budget.shares.items()}}
        for budget in budgets
    ]
    told = {"weights": content, "engine": budgets[0].engine, "threads": budgets[0].threads, **options}
    return [{**config, "prune": told | {"budgets": limits[: i + 1]}} for i in range(len(limits))]


@contextmanager
def claimed(runs: Sequence[RunFolder], configs: Sequence[Config]) -> Generator[None]:
    """Makes the folders these configurations' own, and keeps other processes out; where the block raises, empty ones go again.

    Raises:
        ValueError: If one holds a run of another configuration, or another process works there.
        OSError: If one cannot be written.
    """
    for run, config in zip(runs, configs, strict=True):
        if run.config.exists():  # of all, before any is made
            run.claim(config)
    above = [path for path in {run.path.parent for run in runs} if len(runs) > 1 and not path.exists()]
    try:
        with ExitStack() as stack:
            for run, config in zip(runs, configs, strict=True):
                made = not run.path.exists()
                run.claim(config)
                stack.enter_context(run.held())
                stack.enter_context(run.abandoned(made))
            yield
    except BaseException:
        for path in above:
            with suppress(OSError):  # it holds networks that were finished
                path.rmdir()
        raise


def _empty(path: Path) -> bool:
    return path.is_dir() and all(map(is_leftover, path.iterdir()))


def _named(budget: Budget) -> str:
    return str(budget).split(" in ")[0].replace(" and ", "+").replace(" ", "-")
