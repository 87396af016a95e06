"""``secateur evaluate``: the metrics of a finished run, or of an exported file itself, computed anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from secateur.cli.console import output
from secateur.runs import DEVICE, TRUST, Parser, add_part, find, given, parse_size, spelt_out, trusted

_FILES = (".onnx", ".xml", ".pte", ".pt2")


def evaluate(argv: list[str]) -> None:
    """``secateur evaluate RUN|FILE``."""
    argv = [spelt_out(argument) for argument in argv]
    chosen = (given(argv, "--data.name") or [None])[-1]
    arguments = parser(chosen, argv).read(argv)
    path = Path(arguments.run)
    if path.suffix in _FILES and not path.is_dir():
        results = _of_file(path, argv, chosen, arguments)
    else:
        for name in ("data", "batch", "size", "engine", "outputs"):
            if chosen if name == "data" else getattr(arguments, name) is not None:
                raise ValueError(f"{path} is a run folder and has its own; --{name} is for exported files.")
        from secateur.runs import evaluate_run

        results = evaluate_run(path, arguments.split, trusted(argv), arguments.device)
    table = Table("task", "metric", "value", title=f"{arguments.run}, {arguments.split} split")
    for task, metrics in results.items():
        for metric, value in metrics.items():
            table.add_row(task, metric, f"{value:.4f}")
    output().print(table)


def _of_file(path: Path, argv: list[str], chosen: str | None, arguments: Any) -> dict[str, dict[str, float]]:
    from secateur.runs import check_processor, evaluate_file

    check_processor(arguments.device, "evaluate")
    return evaluate_file(
        path,
        arguments.split,
        data=arguments.data.as_dict() if chosen else None,
        batch=arguments.batch,
        size=parse_size(arguments.size),
        engine=arguments.engine,
        outputs=arguments.outputs,
        trust=trusted(argv),
    )


def parser(chosen: str | None = None, argv: list[str] | None = None) -> Parser:
    """The options of ``secateur evaluate``, with those of a data set where one is chosen."""
    made = Parser(
        prog="secateur evaluate",
        description="Computes the metrics of a finished run anew, or those of an exported file as its engine runs it: on the data of the "
        "run folder that it lies in, or on those that --data names with their options (--data nyuv2 --data.root DIR).",
    )
    made.add_argument("run", type=str, help="run folder, or exported file: .onnx, .xml, .pte, .pt2")
    made.add_argument("--split", type=Literal["val", "test"], default="test", help="which split")
    made.add_argument(
        "--data.name",
        default=chosen,
        help="of a file: which data set (--data is as good; default: the run's)",
    )
    made.add_argument(
        "--batch", type=int | None, default=None, help="of a file: samples a pass (default: the run's, or 1)"
    )
    made.add_argument(
        "--size",
        type=str | None,
        default=None,
        help="of a file: height x width of the pictures (default: as trained)",
    )
    made.add_argument(
        "--engine",
        type=Literal["sparse", "openvino"] | None,
        default=None,
        help="of a file: sparse runs .onnx by secateur-runtime, openvino by OpenVINO (default: that of the file)",
    )
    made.add_argument(
        "--outputs",
        type=dict[str, str] | None,
        default=None,
        help="of an .onnx or .xml that secateur did not write: task to the name of its output, such as '{seg: logits}'; its pictures "
        "are normalised as the data are",
    )
    made.add_argument("--device", type=str, default="auto", help=f"of a run folder: {DEVICE}")
    made.add_argument("--trust", type=str | None, default=None, help=TRUST)
    if chosen is not None:
        made.parts = {"data": chosen}
        target = find("data", chosen, trusted(argv or []))
        add_part(made, "data", chosen, target, {"size", "batch", "workers"})
    return made
