"""``secateur overlap``: where the tasks of a run disagree about the weights that they share."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Column, Table

from secateur.cli.console import output
from secateur.runs import DEVICE, TRUST, Parser, trusted


def overlap(argv: list[str]) -> None:
    """``secateur overlap RUN``."""
    made = parser()
    arguments = made.read(argv)
    made.check_least(arguments, {"batches": 1})
    from secateur.runs import RunFolder, overlap_run
    from secateur.runs.report import overlap_table

    found = overlap_run(
        Path(arguments.run), arguments.density, arguments.batches, trusted(argv), arguments.device
    )
    drawn = overlap_table(found.to_dict())
    assert drawn is not None
    heads = ["layer", "weights", *(f"{task} keeps" for task in drawn.tasks), *drawn.pairs]
    table = Table(*(Column(head, overflow="fold") for head in heads), show_edge=False)
    for name, weights, wanted, bars in drawn.rows:
        table.add_row(name, weights, *wanted, *(text for text, _ in bars))
    console = output()
    console.print(table)
    console.print(drawn.sentence)
    written = RunFolder(Path(arguments.run)).overlap
    if written.is_file() and written.read_text(encoding="utf-8") == json.dumps(found.to_dict(), indent=1):
        console.print(f"map    {written}; `secateur report` shows it", soft_wrap=True)


def parser() -> Parser:
    """The options of ``secateur overlap``."""
    made = Parser(
        prog="secateur overlap",
        description="Which of the shared weights each task would keep, and how far the tasks agree, layer by layer.",
    )
    made.add_argument("run", type=str, help="run folder")
    made.add_argument("--density", type=float, default=0.1, help="share that each task keeps of its weights")
    made.add_argument("--batches", type=int, default=4, help="training batches for the gradients")
    made.add_argument("--device", type=str, default="auto", help=DEVICE)
    made.add_argument("--trust", type=str | None, default=None, help=TRUST)
    return made
