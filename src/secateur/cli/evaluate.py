"""``secateur evaluate``: the metrics of a finished run, computed anew."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.table import Table

from secateur.cli.console import output
from secateur.runs import DEVICE, TRUST, Parser, trusted


def evaluate(argv: list[str]) -> None:
    """``secateur evaluate RUN``."""
    arguments = parser().read(argv)
    from secateur.runs import evaluate_run

    results = evaluate_run(Path(arguments.run), arguments.split, trusted(argv), arguments.device)
    table = Table("task", "metric", "value", title=f"{arguments.run}, {arguments.split} split")
    for task, metrics in results.items():
        for metric, value in metrics.items():
            table.add_row(task, metric, f"{value:.4f}")
    output().print(table)


def parser() -> Parser:
    """The options of ``secateur evaluate``."""
    made = Parser(prog="secateur evaluate", description="Computes the metrics of a finished run anew.")
    made.add_argument("run", type=str, help="run folder")
    made.add_argument("--split", type=Literal["val", "test"], default="test", help="which split")
    made.add_argument("--device", type=str, default="auto", help=DEVICE)
    made.add_argument("--trust", type=str | None, default=None, help=TRUST)
    return made
