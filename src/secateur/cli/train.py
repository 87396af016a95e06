"""``secateur train``: one run by a recipe."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.cli.console import output
from secateur.runs import digest, parse, resolved, trusted


def train(argv: list[str]) -> None:
    """``secateur train RECIPE``."""
    arguments = parse(argv)
    from secateur.runs import Devices, ElsewhereError, time_run
    from secateur.runs import train as train_run

    config = resolved(arguments)
    out = Path(arguments.out or f"runs/{digest(config)}")
    against = Path(arguments.against) if arguments.against else None
    name = Path(arguments.recipe).stem if arguments.recipe else ""
    command = shlex.join(["secateur", "train", *argv])
    devices = Devices(arguments.device, arguments.devices, arguments.nodes, arguments.strategy)
    try:
        found = train_run(
            config,
            out,
            against=against,
            workers=arguments.workers,
            command=command,
            name=name,
            trust=trusted(argv),
            device=devices,
            words=["train", *argv],
            progress=not arguments.quiet,
            track=arguments.track or (),
            snapshots=arguments.snapshots,
            split=arguments.split,
        )
    except ElsewhereError:
        raise SystemExit(1) from None
    if not found:
        return  # the first of several processes goes on alone
    from secateur.runs.report import read_run, report, results_table, sentence

    console = output()
    folders, gone = _shown(out, found)
    console.print(results_table([read_run(folder) for folder in folders]))
    if gone:
        console.print(gone, soft_wrap=True)
    if differs := found["delta_t"].get("differs"):
        console.print(differs, soft_wrap=True)
    elif found["delta_t"]["against"] is None:
        console.print(
            "No dense reference found; train one beside it (secateur train dense, otherwise the same options)."
        )
    if stopped := found.get("stopped"):
        console.print(f"stopped at step {stopped['step']}: {stopped['why']}", soft_wrap=True)
    if kept := found.get("kept"):
        console.print(f"the weights are those of step {kept['step']}, the best")
    if found.get("floors", {}).get("attempts"):
        console.print(sentence(read_run(out).floors))
    for line in time_run(out, found, arguments.bench, trusted(argv)):
        console.print(line, soft_wrap=True)
    try:
        console.print(f"report {report(folders, out / 'report.html')}", soft_wrap=True)
    except OSError as error:  # a finished run, in a folder that may be read alone
        warnings.warn(f"no page was written: {error}", stacklevel=2)
    console.print(f"model  {out / 'model.safetensors'}", soft_wrap=True)


def _shown(out: Path, found: Mapping[str, Any]) -> tuple[list[Path], str]:
    """The run beside its reference, or alone where that has gone since, and a sentence on why."""
    from secateur.runs import reference_place
    from secateur.runs.report import read_run, results_table

    dense = reference_place(out, found)
    if dense is None:
        return [out], ""
    own = read_run(out)
    try:
        other = read_run(dense)
        if other.config == own.config:  # a copy of it
            return [out], ""
        results_table([other, own])
    except (OSError, ValueError) as error:
        return [out], f"Shown without its dense reference: {error}"
    return [dense, out], ""
