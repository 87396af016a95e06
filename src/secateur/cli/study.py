"""``secateur study``: tables and figures of papers, each by its name."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.cli.console import errors, output, say_script
from secateur.runs import DEVICE, TRUST, SeveralParser, add_grid_options, density
from secateur.runs.studies import LOOKS, listing

if TYPE_CHECKING:
    from secateur.runs.study import Cell


def study(argv: Sequence[str]) -> None:
    """``secateur study NAME``; without a name the studies are listed."""
    if not argv:
        sys.stdout.write(f"{listing()}\n`secateur study --help` has the options.\n")
        return
    words = list(takewhile(lambda argument: not argument.startswith("-"), argv))
    if not words:
        parser().parse_args(argv)
        parser().error("name a study first, such as table1.")
    if words[0] in LOOKS:
        _look(words[0], words[1:], argv)
    else:
        _train(words[0], words[1:], argv)


def _train(name: str, more: Sequence[str], argv: Sequence[str]) -> None:
    from secateur.runs.studies import find_study, only, perform, planned, tables, words_of
    from secateur.runs.study import check_columns, job_array

    found, own = find_study(name), parser(looks=False, name=name)
    if more:
        own.error(f"{more[0]!r} is one word too many; study {name} trains its own runs.")
    arguments, options = own.split(argv[1:])
    where = own.where(arguments)
    found = only(found, arguments.rows.split(",")) if arguments.rows else found
    for row in found.rows[:1]:
        own.check(row.recipe, [*words_of(found, options), *row.options])
    said, console, out = errors(), output(), Path(arguments.out or f"runs/{name}")

    def on_done(cell: Cell, done: int, total: int, error: str | None) -> None:
        said.print(f"{done}/{total} {cell.name}: {error or 'done'}", soft_wrap=True)

    densities = [d for several in arguments.density or () for d in several]
    if where.on == "slurm":
        cells = planned(found, options, out, seeds=arguments.seeds, densities=densities)
        check_columns(arguments.columns or (), cells, out)
        script = job_array(cells, out, where, jobs=arguments.jobs, workers=arguments.workers)
        if script is not None:
            return say_script(script, out)
    shown = perform(
        found,
        options,
        out=out,
        seeds=arguments.seeds,
        columns=arguments.columns or (),
        densities=densities,
        jobs=arguments.jobs,
        workers=arguments.workers,
        where=where,
        engines=arguments.engines.split(",") if arguments.engines else (),
        command=shlex.join(["secateur", "study", *argv]),
        on_done=on_done,
    )
    for table in tables(shown):
        console.print(table)
        console.print()
    for note in shown.notes:
        console.print(note)
    kinds = [kind for kind in (".txt", ".tex", ".json", ".svg", ".pdf") if (out / f"study{kind}").exists()]
    console.print(
        f"study  {out / 'study.md'}, {', '.join(kinds)}; every figure in {out / 'results.json'}",
        soft_wrap=True,
    )
    return None


def _look(name: str, runs: Sequence[str], argv: Sequence[str]) -> None:
    own = parser(trains=False, name=name)
    arguments = own.parse_args(argv[1 + len(runs) :])
    if not runs:
        own.error(f"study {name} looks at finished runs; name their folders after it.")
    if name != "sensitivity":
        for option in ("by", "density", "limit"):
            if getattr(arguments, option) is not None:
                own.error(f"--{option} is of the study sensitivity alone; leave it out.")
    if arguments.limit is not None and arguments.limit < 1:
        own.error(f"--limit is {arguments.limit}; give at least 1, or leave it out for all batches.")
    from rich.table import Column, Table

    from secateur.runs import trusted
    from secateur.runs.studies import look

    said, console, out = errors(), output(), Path(arguments.out or f"runs/{name}")
    found = look(
        name,
        [Path(run) for run in runs],
        out,
        by=arguments.by or "component",
        densities=[d for several in arguments.density or () for d in several],
        limit=arguments.limit,
        trust=trusted(argv),
        device=arguments.device,
        on_done=lambda done: said.print(done, soft_wrap=True),
    )
    first, *others = found.heads
    heads = [Column(first, overflow="fold"), *(Column(h, justify="right", overflow="fold") for h in others)]
    table = Table(*heads, show_edge=False, pad_edge=False, header_style="bold")
    for row in found.rows:
        table.add_row(*row)
    console.print(table)
    for note in found.notes:
        console.print(note)
    pictures = ", ".join(f"{out / file}.svg, .pdf" for file, picture in found.pictures.items() if picture)
    console.print(f"study  {out / name}.md and .json{', ' if pictures else ''}{pictures}", soft_wrap=True)


def parser(*, trains: bool = True, looks: bool = True, name: str = "NAME") -> SeveralParser:
    """The options of ``secateur study``: of studies that train, of those of finished runs, or of both.

    Args:
        trains: Those of studies that train.
        looks: Those of studies of finished runs.
        name: Of the study.
    """
    made = SeveralParser(
        prog=f"secateur study {name}" if name != "NAME" else "secateur study",
        usage=f"secateur study {name} {'[RUN ...] ' if looks else ''}[options]",
        description="A table or figure of a paper, by its name. The same command goes on where it was stopped. Studies that train take "
        "all options of `secateur train` too, for every run.",
        epilog=listing(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if trains:
        add_grid_options(made, "")
        made.add_argument(
            "--rows", metavar="ROWS", help="some rows of the table alone, such as snip,adapmtl (default: all)"
        )
        made.add_argument(
            "--engines",
            metavar="E",
            help="time the first seed's networks in these engines, such as onnxruntime,sparse",
        )
    else:
        made.add_argument(
            "--density", type=density, nargs="+", metavar="D", help="of sensitivity: kept shares"
        )
        made.add_argument("--out", metavar="DIR", help="folder of table and pictures (default: runs/NAME)")
    if looks:
        made.add_argument(
            "--by",
            choices=["component", "layer"],
            help="of sensitivity: what is pruned at a time (default: component)",
        )
        made.add_argument("--limit", type=int, metavar="N", help="of sensitivity: validation batches at most")
    if not trains:  # which the options of `secateur train` have
        made.add_argument("--device", default="auto", help=DEVICE)
        made.add_argument("--trust", help=TRUST)
    return made
