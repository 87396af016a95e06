"""``secateur compare``: methods side by side."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from secateur.cli.console import errors, output, say_script
from secateur.runs import SeveralParser, add_grid_options

if TYPE_CHECKING:
    from secateur.runs.study import Cell


class Grid(TypedDict):
    """Which runs a command line asks for."""

    densities: list[float]
    seeds: int | tuple[int, ...]
    over: list[str]
    combinations: bool
    single: bool
    equal_steps: bool


_EPILOG = "All other options are those of `secateur train`, --trust among them, and hold for every recipe."


def compare(argv: Sequence[str]) -> None:
    """Trains the recipes of the command line and prints their table."""
    recipes = list(takewhile(lambda argument: not argument.startswith("-"), argv))
    own = parser()
    arguments, options = own.split(argv[len(recipes) :])
    where = own.where(arguments)
    for recipe in recipes:
        own.check(recipe, options)
    from secateur.runs.study import check_columns, grid, job_array, marks_on, note, terminal
    from secateur.runs.study import compare as compare_runs

    console = output()
    said = errors()

    def on_done(cell: Cell, done: int, total: int, error: str | None) -> None:
        said.print(f"{done}/{total} {cell.name}: {error or 'done'}", soft_wrap=True)

    out = Path(arguments.out)
    asked: Grid = {
        "densities": [d for several in arguments.density or () for d in several],
        "seeds": arguments.seeds,
        "over": arguments.over or [],
        "combinations": arguments.combinations,
        "single": arguments.single,
        "equal_steps": arguments.equal_steps,
    }
    if recipes and where.on == "slurm":
        cells = grid(recipes, options, **asked)
        check_columns(arguments.columns or (), cells, out)
        script = job_array(cells, out, where, jobs=arguments.jobs, workers=arguments.workers)
        if script is not None:
            return say_script(script, out)
    results = compare_runs(
        recipes,
        options,
        out=out,
        **asked,
        columns=arguments.columns or (),
        jobs=arguments.jobs,
        workers=arguments.workers,
        where=where,
        command=shlex.join(["secateur", "compare", *argv]),
        on_done=on_done,
    )
    marks = marks_on(console)
    for table in terminal(results, marks):
        console.print(table)
        console.print()
    console.print(note(results, marks))
    console.print(
        f"table  {out / 'table.html'}, .txt, .md, .csv and .tex, {out / 'table_long.tex'}; every figure in {out / 'results.json'}",
        soft_wrap=True,
    )
    drawn = sorted(path for pattern in ("curve.pdf", "over_*.pdf") for path in out.glob(pattern))
    if drawn:
        console.print(f"drawn  {', '.join(map(str, drawn))}, and .svg", soft_wrap=True)
    return None


def parser() -> SeveralParser:
    """The options of ``secateur compare`` itself."""
    made = SeveralParser(
        prog="secateur compare",
        usage="secateur compare RECIPE [RECIPE ...] [options]",
        description="Trains several recipes and compares them. Finished runs are not trained again.",
        epilog=_EPILOG,
    )
    add_grid_options(made, "runs/compare")
    made.add_argument(
        "--over",
        action="append",
        metavar="OPTION=V,V",
        help="train with each value of an option, such as lr=1e-3,3e-3; several multiply",
    )
    made.add_argument(
        "--combinations", action="store_true", help="every subset of the tasks, each on its own"
    )
    made.add_argument(
        "--single", action="store_true", help="dense networks for each task alone as well, to compare with"
    )
    made.add_argument(
        "--equal-steps", action="store_true", help="methods with rounds share the steps out among them"
    )
    return made
