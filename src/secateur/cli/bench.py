"""``secateur bench``: how fast networks are, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from secateur.cli.console import named, output
from secateur.runs import ENGINES, TRUST, Parser, trusted


def bench(argv: list[str]) -> None:
    """``secateur bench RUN [RUN ...]``."""
    made = parser()
    arguments = made.read(argv)
    made.check_least(arguments, {"threads": 1, "repeats": 1})
    from secateur.deployment.bench import table
    from secateur.runs import bench_runs, check_processor
    from secateur.storage import write_text

    check_processor(arguments.device, "bench")
    kept = named(arguments.json) if arguments.json else None
    found = bench_runs(
        [Path(run) for run in arguments.runs],
        arguments.engines,
        against=Path(arguments.against) if arguments.against else None,
        size=arguments.size,
        threads=arguments.threads,
        repeats=arguments.repeats,
        trust=trusted(argv),
    )
    console = output()
    console.print(table(found))
    for sentence in found.advice:
        console.print(sentence, soft_wrap=True)
    if kept:
        write_text(kept, json.dumps(found.to_dict(), indent=1))
        console.print(f"figures {arguments.json}", soft_wrap=True)


def parser() -> Parser:
    """The options of ``secateur bench``."""
    made = Parser(prog="secateur bench", description="Times networks side by side, as ratios.")
    made.add_argument(
        "runs", nargs="+", type=str, help="run folders; their compacted networks where there are"
    )
    made.add_argument(
        "--engines",
        type=Sequence[Literal["torch", "onnxruntime", "openvino", "executorch", "sparse"]],
        default=["torch"],
        help="such as onnxruntime,openvino,sparse",
    )
    made.add_argument("--against", type=str | None, default=None, help="run folder of the reference")
    made.add_argument(
        "--size", type=str | None, default=None, help="height x width of the input, such as 240x320"
    )
    made.add_argument("--threads", type=int, default=1, help="threads of a forward pass")
    made.add_argument("--repeats", type=int, default=20, help="rounds")
    made.add_argument("--json", type=str | None, default=None, help="write the figures to this file")
    made.add_argument("--device", type=str, default="cpu", help=ENGINES)
    made.add_argument("--trust", type=str | None, default=None, help=TRUST)
    return made
