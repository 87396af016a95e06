"""``secateur export``: a file for an engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from secateur.cli.console import output
from secateur.runs import ENGINES, STORED, TRUST, Parser, trusted


def export(argv: list[str]) -> None:
    """``secateur export RUN``."""
    arguments = parser().read(argv)
    from secateur.runs import check_processor, export_run

    check_processor(arguments.device, "export")
    out = Path(arguments.out) if arguments.out else None
    run, tasks = Path(arguments.run), arguments.tasks or None
    path = export_run(
        run,
        arguments.format,
        tasks=tasks,
        out=out,
        weights=arguments.weights,
        quantize=arguments.quantize,
        keep_float=arguments.keep_float,
        dynamic=arguments.dynamic,
        trust=trusted(argv),
    )
    output().print(f"model  {path}", soft_wrap=True)
    if arguments.quantize:
        from secateur.deployment.export import describe

        made = describe(path)["quantized"]
        errors = made["errors"]
        told = ", ".join(f"{task} {error:.2%}" for task, error in errors.items())
        output().print(f"int8 is not exact; off by at most, of the largest value: {told}", soft_wrap=True)
        if made["float"]:
            output().print(f"in float: {', '.join(made['float'])}", soft_wrap=True)


def parser() -> Parser:
    """The options of ``secateur export``."""
    made = Parser(prog="secateur export", description="Writes a network for an engine, and checks it there.")
    made.add_argument("run", type=str, help="run folder; its compacted network if there is one")
    made.add_argument(
        "--format",
        type=Literal["onnx", "openvino", "executorch", "pt2"],
        default="onnx",
        help="for which engine",
    )
    made.add_argument("--tasks", type=Sequence[str] | None, default=None, help="a subset, such as seg,depth")
    made.add_argument(
        "--weights", type=Literal["sparse", "sparse_float16", "dense"], default="sparse", help=STORED
    )
    made.add_argument(
        "--quantize",
        type=Literal["int8"] | None,
        default=None,
        help="int8: weights and activations of an .onnx or .xml as bytes, calibrated on the run's training batches; not exact",
    )
    made.add_argument(
        "--keep-float",
        type=Sequence[str] | None,
        default=None,
        help="what int8 leaves in float: tasks, for their heads, or modules, such as depth,backbone.conv1 (default: what prune found)",
    )
    made.add_argument(
        "--dynamic",
        type=bool,
        default=True,
        help="let batch and size vary where network and engine allow; false fixes them to one picture of the data's size, as bench times it",
    )
    made.add_argument("--out", type=str | None, default=None, help="the file (default: in the run folder)")
    made.add_argument("--device", type=str, default="cpu", help=ENGINES)
    made.add_argument("--trust", type=str | None, default=None, help=TRUST)
    return made
