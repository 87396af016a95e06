"""``secateur report``: one page about several runs."""

from __future__ import annotations

from pathlib import Path

from secateur.cli.console import named, output
from secateur.runs import Parser


def report(argv: list[str]) -> None:
    """``secateur report RUN [RUN ...]``."""
    arguments = parser().read(argv)
    from secateur.runs.report import read_run, results_table
    from secateur.runs.report import report as report_runs

    folders = [Path(run) for run in arguments.runs]
    out = named(arguments.out) if arguments.out else folders[-1] / "report.html"
    output().print(results_table([read_run(folder) for folder in folders]))
    page = report_runs(folders, out)
    output().print(f"report {page}", soft_wrap=True)


def parser() -> Parser:
    """The options of ``secateur report``."""
    made = Parser(
        prog="secateur report",
        description="Writes one page about several finished runs: results, training, what was deployed, pictures.",
    )
    made.add_argument("runs", nargs="+", type=str, help="run folders, the dense one first")
    made.add_argument(
        "--out", type=str | None, default=None, help="the page (default: report.html in the last run)"
    )
    return made
