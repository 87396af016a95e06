"""The command line: one file a verb, and the console they write to."""

from secateur.cli.main import main

__all__ = ["main"]
