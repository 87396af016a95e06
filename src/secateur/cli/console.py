"""Where the command line prints: to a terminal at its width, elsewhere with room for whole tables."""

from __future__ import annotations

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
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=WIDTH)
