"""The command line: ``secateur train``, ``evaluate``, ``report``, ``compare``, ``compact``, ``export``, ``bench``, ``doctor``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from secateur.cli import compare as cli_compare
from secateur.cli import deploy as cli_deploy
from secateur.cli import doctor as cli_doctor
from secateur.cli.console import errors, output
from secateur.runs import RunFolder, digest, evaluate_run, overlap_run, parse, resolved
from secateur.runs import train as train_run
from secateur.runs.report import overlap_table, read_run, report, results_table, sentence
from secateur.training import Row

_USAGE = """usage: secateur {train,evaluate,report,compare,overlap,compact,export,bench,doctor} ...

  secateur train RECIPE [options]          train by a recipe: dense, adapmtl, ..., or a YAML file of your own
  secateur evaluate RUN [--split val]      the metrics of a finished run, computed anew
  secateur report RUN [RUN ...]            one page about several runs, dense first
  secateur compare RECIPE [RECIPE ...]     several recipes, seeds, densities or combinations of tasks in one table
  secateur overlap RUN                     where the tasks of a run disagree about the weights that they share
  secateur compact RUN                     a smaller network with the same outputs
  secateur export RUN --format onnx        a file for an engine: onnx, openvino, executorch, pt2
  secateur bench RUN --against DENSE       how fast it is, in which engine
  secateur doctor --data NAME              is a copy of a data set complete and sane

`secateur train --help` lists recipes and options."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0 done, 1 failed, 2 asked wrongly."""
    argv = list(sys.argv[1:] if argv is None else argv)
    commands = {
        "train": _train,
        "evaluate": _evaluate,
        "report": _report,
        "compare": cli_compare.compare,
        "overlap": _overlap,
        "compact": cli_deploy.compact,
        "export": cli_deploy.export,
        "bench": cli_deploy.bench,
        "doctor": cli_doctor.doctor,
    }
    console = errors()
    if not argv or argv[0] not in commands:
        output().print(_USAGE, markup=False)
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    try:
        commands[argv[0]](argv[1:])
    except (ValueError, OSError, FloatingPointError, ImportError, RuntimeError) as error:
        console.print(f"error: {error}", markup=False, style="red", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from the last checkpoint")
        return 130
    return 0


def _train(argv: list[str]) -> None:
    arguments = parse(argv)
    config = resolved(arguments)
    out = Path(arguments.out or f"runs/{digest(config)}")
    against = Path(arguments.against) if arguments.against else None
    name = Path(arguments.recipe).stem if arguments.recipe else ""
    command = shlex.join(["secateur", "train", *argv])
    with _Bar() as bar:
        found = train_run(
            config, out, against=against, workers=arguments.workers, command=command, name=name, on_log=bar
        )
    console = output()
    dense = found["delta_t"]["against"]
    folders = [out] if dense in (None, "itself") else [Path(dense), out]
    console.print(results_table([read_run(folder) for folder in folders]))
    if dense is None:
        console.print(
            "No dense reference found; train one beside it (secateur train dense, otherwise the same options)."
        )
    if found.get("floors", {}).get("attempts"):
        console.print(sentence(read_run(out).floors), markup=False)
    console.print(f"report {report(folders, out / 'report.html')}", soft_wrap=True)
    console.print(f"model  {out / 'model.safetensors'}", soft_wrap=True)


def _evaluate(argv: list[str]) -> None:
    parser = ArgumentParser(
        prog="secateur evaluate", description="Computes the metrics of a finished run anew."
    )
    parser.add_argument("run", type=str, help="run folder")
    parser.add_argument("--split", type=Literal["val", "test"], default="test", help="which split")
    arguments = parser.parse_args(argv)
    results = evaluate_run(Path(arguments.run), arguments.split)
    table = Table("task", "metric", "value", title=f"{arguments.run}, {arguments.split} split")
    for task, metrics in results.items():
        for metric, value in metrics.items():
            table.add_row(task, metric, f"{value:.4f}")
    output().print(table)


def _report(argv: list[str]) -> None:
    parser = ArgumentParser(
        prog="secateur report", description="Writes one page about several finished runs."
    )
    parser.add_argument("runs", nargs="+", type=str, help="run folders, the dense one first")
    parser.add_argument(
        "--out", type=str | None, default=None, help="the page (default: report.html in the last run)"
    )
    arguments = parser.parse_args(argv)
    folders = [Path(run) for run in arguments.runs]
    output().print(results_table([read_run(folder) for folder in folders]))
    page = report(folders, Path(arguments.out) if arguments.out else folders[-1] / "report.html")
    output().print(f"report {page}", soft_wrap=True)


def _overlap(argv: list[str]) -> None:
    parser = ArgumentParser(
        prog="secateur overlap",
        description="Which of the shared weights each task would keep, and how far the tasks agree, layer by layer.",
    )
    parser.add_argument("run", type=str, help="run folder")
    parser.add_argument(
        "--density", type=float, default=0.1, help="share that each task keeps of its weights"
    )
    parser.add_argument("--batches", type=int, default=4, help="training batches for the gradients")
    arguments = parser.parse_args(argv)
    made = overlap_table(overlap_run(Path(arguments.run), arguments.density, arguments.batches).to_dict())
    assert made is not None
    heads = ["layer", "weights", *(f"{task} keeps" for task in made.tasks), *made.pairs]
    table = Table(*(Column(head, overflow="fold") for head in heads), show_edge=False)
    for name, weights, wanted, bars in made.rows:
        table.add_row(name, weights, *wanted, *(text for text, _ in bars))
    console = output()
    console.print(table)
    console.print(made.sentence)
    console.print(
        f"map    {RunFolder(Path(arguments.run)).overlap}; `secateur report` shows it", soft_wrap=True
    )


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
