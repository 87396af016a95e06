"""``secateur train``: one run by a recipe."""

from __future__ import annotations

import shlex
from pathlib import Path

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
    dense = found["delta_t"]["against"]
    folders = [out] if dense in (None, "itself") else [Path(dense), out]
    console.print(results_table([read_run(folder) for folder in folders]))
    if differs := found["delta_t"].get("differs"):
        console.print(differs, markup=False, soft_wrap=True)
    elif dense is None:
        console.print(
            "No dense reference found; train one beside it (secateur train dense, otherwise the same options)."
        )
    if stopped := found.get("stopped"):
        console.print(f"stopped at step {stopped['step']}: {stopped['why']}", markup=False, soft_wrap=True)
    if kept := found.get("kept"):
        console.print(f"the weights are those of step {kept['step']}, the best", markup=False)
    if found.get("floors", {}).get("attempts"):
        console.print(sentence(read_run(out).floors), markup=False)
    for line in time_run(out, found, arguments.bench, trusted(argv)):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"report {report(folders, out / 'report.html')}", soft_wrap=True)
    console.print(f"model  {out / 'model.safetensors'}", soft_wrap=True)
