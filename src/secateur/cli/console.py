"""Where the command line prints, to a terminal at its width, elsewhere with room for whole tables; and which files it may write."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from rich.console import Console

WIDTH = 240
"""Columns of a pipe or file, where nothing must be cut off to fit a screen."""


def output() -> Console:
    """Standard output."""
    return _console(stderr=False)


def errors() -> Console:
    """Standard error."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    plain = partial(
        Console, stderr=stderr, highlight=False, markup=False, emoji=False
    )  # names are what they are
    made = plain()
    return made if made.is_terminal else plain(width=WIDTH)


def say_script(script: str, out: Path) -> None:
    """A job array as it is on standard output, and beside it how it is submitted and what comes after."""
    from secateur.runs.study import submission

    sys.stdout.write(script)
    errors().print(
        f"submit  {submission(script, out)}\nNothing was trained. When the jobs have ended, the same command writes the table.",
        soft_wrap=True,
    )


def named(path: str) -> Path:
    """The file that a command line says to write, or where a link there leads.

    Raises:
        ValueError: If a run keeps what it is in that file, which would be lost.
    """
    from secateur.runs import RunFolder
    from secateur.storage import behind

    file = behind(Path(path))
    run = RunFolder(file.parent)
    own = (run.config, run.metrics, run.checkpoint, run.weights, run.compact, run.compaction, run.report)
    own = (*own, run.exports, run.overlap, run.samples, run.bench, run.path / "budget.json")
    if run.config.is_file() and file in own:
        raise ValueError(
            f"{path} is a file of the run in {file.parent}, which would be lost; choose another name."
        )
    return file
