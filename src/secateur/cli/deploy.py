"""The command line after training: ``secateur compact``, ``export`` and ``bench``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser

from secateur.cli.console import output
from secateur.runs import TRUST, trusted


def compact(argv: list[str]) -> None:
    """``secateur compact RUN``."""
    parser = ArgumentParser(
        prog="secateur compact", description="Removes the channels that no output depends on."
    )
    parser.add_argument("run", type=str, help="run folder")
    parser.add_argument(
        "--round_to", type=int, default=1, help="fill channels up to a multiple of this, such as 8"
    )
    parser.add_argument("--trust", type=str | None, default=None, help=TRUST)
    arguments = parser.parse_args(argv)
    from secateur.runs import compact_run

    path, made, sizes = compact_run(Path(arguments.run), round_to=arguments.round_to, trust=trusted(argv))
    console = output()
    console.print(made.text(), markup=False, soft_wrap=True)
    for name, unit in (("params", "parameters"), ("macs", "multiply-accumulates")):
        before, after = sizes["before"][name], sizes["after"][name]
        console.print(f"{unit} {before:,} -> {after:,} ({after / max(1, before):.1%})")
    console.print(f"model  {path}", soft_wrap=True)


def export(argv: list[str]) -> None:
    """``secateur export RUN``."""
    parser = ArgumentParser(
        prog="secateur export", description="Writes a network for an engine, and checks it there."
    )
    parser.add_argument("run", type=str, help="run folder; its compacted network if there is one")
    parser.add_argument(
        "--format",
        type=Literal["onnx", "openvino", "executorch", "pt2"],
        default="onnx",
        help="for which engine",
    )
    parser.add_argument("--tasks", type=str | None, default=None, help="a subset, such as seg,depth")
    parser.add_argument("--out", type=str | None, default=None, help="the file (default: in the run folder)")
    parser.add_argument("--trust", type=str | None, default=None, help=TRUST)
    arguments = parser.parse_args(argv)
    from secateur.runs import export_run

    tasks = arguments.tasks.split(",") if arguments.tasks else None
    out = Path(arguments.out) if arguments.out else None
    path = export_run(Path(arguments.run), arguments.format, tasks=tasks, out=out, trust=trusted(argv))
    output().print(f"model  {path}", soft_wrap=True)


def bench(argv: list[str]) -> None:
    """``secateur bench RUN [RUN ...]``."""
    parser = ArgumentParser(prog="secateur bench", description="Times networks side by side, as ratios.")
    parser.add_argument(
        "runs", nargs="+", type=str, help="run folders; their compacted networks where there are"
    )
    parser.add_argument("--engines", type=str, default="torch", help="such as torch,onnxruntime,openvino")
    parser.add_argument("--against", type=str | None, default=None, help="run folder of the reference")
    parser.add_argument(
        "--size", type=str | None, default=None, help="height x width of the input, such as 240x320"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of a forward pass")
    parser.add_argument("--repeats", type=int, default=20, help="rounds")
    parser.add_argument("--json", type=str | None, default=None, help="write the figures to this file")
    parser.add_argument("--trust", type=str | None, default=None, help=TRUST)
    arguments = parser.parse_args(argv)
    from secateur.deployment.bench import table
    from secateur.runs import bench_runs
    from secateur.storage import write_text

    made = bench_runs(
        [Path(run) for run in arguments.runs],
        arguments.engines.split(","),
        against=Path(arguments.against) if arguments.against else None,
        size=arguments.size,
        threads=arguments.threads,
        repeats=arguments.repeats,
        trust=trusted(argv),
    )
    console = output()
    console.print(table(made))
    for sentence in made.advice:
        console.print(sentence, markup=False, soft_wrap=True)
    if arguments.json:
        console.print(
            f"figures {write_text(Path(arguments.json), json.dumps(made.to_dict(), indent=1))}",
            soft_wrap=True,
        )
