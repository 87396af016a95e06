"""The command line: one file a verb, and the console they write to.

A verb reads its command line first and imports after that what it works with, so that its ``--help`` is quick.
"""

from secateur.cli.main import main

__all__ = ["main"]
