"""``secateur compare``: methods side by side."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.cli.console import errors, output

if TYPE_CHECKING:
    from secateur.runs.study import Cell

_EPILOG = "All other options are those of `secateur train`, --trust among them, and hold for every recipe."


def compare(argv: Sequence[str]) -> None:
    """Trains the recipes of the command line and prints their table."""
    recipes = list(takewhile(lambda argument: not argument.startswith("-"), argv))
    arguments, options = parser().parse_known_args(argv[len(recipes) :])
    from secateur.runs.study import compare as compare_runs
    from secateur.runs.study import marks_on, note, terminal

    console = output()
    said = errors()

    def on_done(cell: Cell, done: int, total: int, error: str | None) -> None:
        said.print(f"{done}/{total} {cell.name}: {error or 'done'}", soft_wrap=True, markup=False)

    before = signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # runs that are training end with this process
    out = Path(arguments.out)
    try:
        results = compare_runs(
            recipes,
            options,
            out=out,
            densities=arguments.density or (),
            seeds=arguments.seeds,
            combinations=arguments.combinations,
            single=arguments.single,
            equal_steps=arguments.equal_steps,
            jobs=arguments.jobs,
            workers=arguments.workers,
            command=shlex.join(["secateur", "compare", *argv]),
            on_done=on_done,
        )
    finally:
        signal.signal(signal.SIGTERM, before)
    marks = marks_on(console)
    for table in terminal(results, marks):
        console.print(table)
        console.print()
    console.print(note(results, marks))
    console.print(
        f"table  {out / 'table.html'}, .txt, .md, .csv and .tex; every figure in {out / 'results.json'}",
        soft_wrap=True,
    )


def parser() -> argparse.ArgumentParser:
    """The options of ``secateur compare`` itself."""
    made = argparse.ArgumentParser(
        prog="secateur compare",
        usage="secateur compare RECIPE [RECIPE ...] [options]",
        description="Trains several recipes and compares them. Finished runs are not trained again.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    made.add_argument(
        "--density", type=float, nargs="+", metavar="D", help="kept fractions, for methods that take one"
    )
    made.add_argument("--seeds", type=int, default=1, metavar="N", help="runs of each, with seeds 0 to N-1")
    made.add_argument(
        "--combinations", action="store_true", help="every subset of the tasks, each on its own"
    )
    made.add_argument(
        "--single", action="store_true", help="dense networks for each task alone as well, to compare with"
    )
    made.add_argument(
        "--equal-steps", action="store_true", help="methods with rounds share the steps out among them"
    )
    made.add_argument(
        "--jobs", type=int, metavar="N", help="runs at a time (default: one a GPU, on a CPU one)"
    )
    made.add_argument("--workers", type=int, default=0, metavar="N", help="processes that load data, a run")
    made.add_argument("--out", default="runs/compare", metavar="DIR", help="folder of the comparison")
    return made
