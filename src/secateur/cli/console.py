"""Where the command line prints: to a terminal at its width, elsewhere with room for whole tables."""

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
