"""``secateur compare``: methods side by side."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from secateur.cli.console import errors, output
from secateur.runs import complaint, missing, spelt, spelt_out, train_parser

if TYPE_CHECKING:
    from secateur.runs.study import Cell

_EPILOG = "All other options are those of `secateur train`, --trust among them, and hold for every recipe."


def compare(argv: Sequence[str]) -> None:
    """Trains the recipes of the command line and prints their table."""
    recipes = list(takewhile(lambda argument: not argument.startswith("-"), argv))
    own = parser()
    rest = [f"--density{a.removeprefix('--method.density')}" if a.startswith("--method.density") else a
            for a in spelt(argv[len(recipes) :], own.options)]  # fmt: skip
    arguments, options = own.parse_known_args(rest)
    for recipe in recipes:
        of_train = train_parser([recipe, *options])
        known, given = [*own.options, *of_train.options], [spelt_out(option) for option in options]
        wrong = [name for a in given if a.startswith("--") and (name := a.partition("=")[0]) not in known]
        if wrong:
            own.error(" ".join(missing(name, known, of_train.parts) for name in wrong))
    from secateur.runs.study import compare as compare_runs
    from secateur.runs.study import marks_on, note, terminal

    console = output()
    said = errors()

    def on_done(cell: Cell, done: int, total: int, error: str | None) -> None:
        said.print(f"{done}/{total} {cell.name}: {error or 'done'}", soft_wrap=True, markup=False)

    out = Path(arguments.out)
    results = compare_runs(
        recipes,
        options,
        out=out,
        densities=[d for several in arguments.density or () for d in several],
        seeds=arguments.seeds,
        combinations=arguments.combinations,
        single=arguments.single,
        equal_steps=arguments.equal_steps,
        jobs=arguments.jobs,
        workers=arguments.workers,
        command=shlex.join(["secateur", "compare", *argv]),
        on_done=on_done,
    )
    marks = marks_on(console)
    for table in terminal(results, marks):
        console.print(table)
        console.print()
    console.print(note(results, marks))
    console.print(
        f"table  {out / 'table.html'}, .txt, .md, .csv and .tex; every figure in {out / 'results.json'}",
        soft_wrap=True,
    )


class _Parser(argparse.ArgumentParser):
    """Of the options that are not of ``secateur train``, which jsonargparse cannot leave aside."""

    @property
    def options(self) -> list[str]:
        """All options as they are written."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    def error(self, message: str) -> NoReturn:
        """Says what is wrong in a line, and ends with status 2."""
        said = complaint(message, self.options)
        sys.stderr.write(
            f"error: {said} `{self.prog} --help` and `secateur train --help` list the options.\n"
        )
        self.exit(2)


def density(text: str) -> list[float]:
    """``0.1``, ``0.1,0.05`` or ``[0.1, 0.05]``."""
    return [float(word) for word in text.strip("[] ").split(",")]


def parser() -> _Parser:
    """The options of ``secateur compare`` itself."""
    made = _Parser(
        prog="secateur compare",
        usage="secateur compare RECIPE [RECIPE ...] [options]",
        description="Trains several recipes and compares them. Finished runs are not trained again.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    made.add_argument(
        "--density", type=density, nargs="+", metavar="D", help="kept fractions, for methods that take one"
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
    made.add_argument(
        "--out", default="runs/compare", metavar="DIR", help="folder of the comparison (default: %(default)s)"
    )
    return made
