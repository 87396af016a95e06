"""``secateur train``: one run by a recipe, with a bar while it trains."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from secateur.cli.console import errors, output
from secateur.runs import digest, parse, resolved, trusted

if TYPE_CHECKING:
    from secateur.training import Row


def train(argv: list[str]) -> None:
    """``secateur train RECIPE``."""
    arguments = parse(argv)
    from secateur.runs import train as train_run
    from secateur.runs.report import read_run, report, results_table, sentence

    config = resolved(arguments)
    out = Path(arguments.out or f"runs/{digest(config)}")
    against = Path(arguments.against) if arguments.against else None
    name = Path(arguments.recipe).stem if arguments.recipe else ""
    command = shlex.join(["secateur", "train", *argv])
    with _Bar() as bar:
        found = train_run(
            config,
            out,
            against=against,
            workers=arguments.workers,
            command=command,
            name=name,
            trust=trusted(argv),
            on_log=bar,
        )
    console = output()
    dense = found["delta_t"]["against"]
    folders = [out] if dense in (None, "itself") else [Path(dense), out]
    console.print(results_table([read_run(folder) for folder in folders]))
    if differs := found["delta_t"].get("differs"):
        console.print(differs, markup=False, soft_wrap=True)
    elif dense is None:
        console.print(
            "No dense reference found; train one beside it (secateur train dense, otherwise the same options)."
        )
    if found.get("floors", {}).get("attempts"):
        console.print(sentence(read_run(out).floors), markup=False)
    console.print(f"report {report(folders, out / 'report.html')}", soft_wrap=True)
    console.print(f"model  {out / 'model.safetensors'}", soft_wrap=True)


class _Bar:
    """A progress bar with loss, density and the time left."""

    def __init__(self) -> None:
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
        )
        self._progress = Progress(*columns, console=errors(), transient=True)
        self._id: Any = None

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, rows: list[Row], total: int) -> None:
        row = next((r for r in reversed(rows) if "loss" in r), None)
        if row is None:
            return
        said = "  ".join(
            [*(f"{t} {v:.3f}" for t, v in row["loss"].items()), f"density {row['density']['overall']:.1%}"]
        )
        if self._id is None:
            self._id = self._progress.add_task("", total=total, said=said, completed=row["step"])
        self._progress.update(self._id, completed=row["step"], said=said)
