"""``secateur predict``: pictures with what a network predicts drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from secateur.cli.console import output
from secateur.runs import DEVICE, TRUST, Parser, parse_size, trusted


def predict(argv: list[str]) -> None:
    """``secateur predict RUN|FILE PICTURE [PICTURE ...] --out FOLDER``."""
    arguments = parser().read(argv)
    from secateur.runs.predict import network_of
    from secateur.runs.predict import predict as predict_pictures

    network = network_of(
        Path(arguments.network),
        size=parse_size(arguments.size),
        mean=arguments.mean,
        std=arguments.std,
        pictures=arguments.pictures,
        engine=arguments.engine,
        outputs=arguments.outputs,
        trust=trusted(argv),
        device=arguments.device,
    )
    seen = predict_pictures(
        network, [Path(p) for p in arguments.inputs], Path(arguments.out), raw=arguments.raw
    )
    many = "s" if seen.pictures != 1 else ""
    output().print(
        f"seen  {seen.out}: {seen.pictures} picture{many}, {', '.join(network.tasks)}",
        soft_wrap=True,
    )
    if seen.undrawn:
        output().print(f"not drawn, arrays only: {', '.join(seen.undrawn)}", soft_wrap=True)
    if seen.skipped:
        output().print(
            f"left out as neither pictures nor arrays: {seen.skipped} of the files in the folders",
            soft_wrap=True,
        )


def parser() -> Parser:
    """The options of ``secateur predict``."""
    made = Parser(
        prog="secateur predict",
        description="Draws what a network predicts of pictures, as the report does: of each picture NAME one NAME.TASK.png a "
        "task, and NAME.png with all side by side. Every input is read before anything is written.",
    )
    made.add_argument("network", type=str, help="run folder, or exported file: .onnx, .xml, .pte, .pt2")
    made.add_argument(
        "inputs",
        nargs="+",
        type=str,
        help="pictures, folders of pictures, .npy or .npz arrays (height, width, 3) or (N, height, width, 3), or with the 3 channels before "
        "the height, bytes or in [0, 1]",
    )
    made.add_argument("--out", type=str, required=True, help="folder to write to; new, or empty")
    made.add_argument(
        "--raw", action="store_true", help="keep the predictions too, as NAME.npz with an array a task"
    )
    made.add_argument(
        "--size",
        type=str | None,
        default=None,
        help="height x width that pictures are resized to (default: as trained), where the network takes others",
    )
    for name, what in (("mean", "subtracted from RGB in [0, 1]"), ("std", "divided by")):
        made.add_argument(
            f"--{name}",
            type=list[float] | None,
            default=None,
            help=f"3 numbers {what}, such as 0.5,0.5,0.5 (default: what the file says)",
        )
    made.add_argument(
        "--pictures",
        type=dict[str, str] | None,
        default=None,
        help="task to the kind of its picture where the file does not say, such as '{seg: segmentation}': segmentation, normal, "
        "depth, inverse_depth, map, yes_or_no, class",
    )
    made.add_argument(
        "--engine",
        type=Literal["sparse"] | None,
        default=None,
        help="sparse runs an .onnx file by secateur-runtime (default: that of the file)",
    )
    made.add_argument(
        "--outputs",
        type=dict[str, str] | None,
        default=None,
        help="of an .onnx or .xml that secateur did not write: task to the name of its output, such as '{seg: logits}'",
    )
    made.add_argument("--device", type=str, default="cpu", help=f"of a run folder: {DEVICE}")
    made.add_argument("--trust", type=str | None, default=None, help=TRUST)
    return made
