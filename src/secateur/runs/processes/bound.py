"""A process that runs a module and ends with the one that started it; started by running.py, never imported for it.

Its standard input is a pipe of which nothing comes: it ends when the other process does, however that ends, on every system.
"""

from __future__ import annotations

import os
import runpy
import sys
from threading import Thread

_ENDED = 143  # as after SIGTERM


def main() -> None:
    """Runs the module that the first argument names as ``python -m`` does, with the arguments after it."""
    Thread(target=_end_with_the_other, args=(os.dup(0),), daemon=True).start()
    with open(os.devnull) as nothing:  # noqa: PTH123 (before pathlib: it may end at any time)
        os.dup2(nothing.fileno(), 0)
    del sys.argv[0]
    sys.path.append(os.getcwd())  # noqa: PTH109 (the same); last, so that a file there takes nobody's place
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_the_other(pipe: int) -> None:
    os.read(pipe, 1)
    os._exit(_ENDED)  # as if it were killed too: files are whole or not there


if __name__ == "__main__":
    main()
