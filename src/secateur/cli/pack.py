"""``secateur pack``: the zeros of an ONNX file, of whatever origin, taken out of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from secateur.cli.console import named, output
from secateur.runs import PACKED, Parser


def pack(argv: list[str]) -> None:
    """``secateur pack FILE``."""
    arguments = parser().read(argv)
    from secateur.deployment.sparse import pack as pack_file

    if (folder := Path(arguments.file)).is_dir():
        files = sorted(folder.glob("*.onnx"))
        there = (
            f"give the file in it: {' or '.join(map(str, files[:3]))}"
            if files
            else "it holds no .onnx file; `secateur export` writes one"
        )
        raise ValueError(f"pack: {folder} is a folder; {there}.")
    out = named(arguments.out) if arguments.out else None
    made = pack_file(arguments.file, out, weights=arguments.weights)
    elements = sum(weight.elements for weight in made.weights)
    nonzeros = sum(weight.nonzeros for weight in made.weights)
    exact = "exactly" if arguments.weights == "sparse" else "rounded to float16"
    stored = (
        "stored as gaps and values before"
        if made.after == made.before
        else f"stored as gaps and values, {exact}"
    )
    console = output()
    console.print(
        f"{len(made.weights)} weights, {1 - nonzeros / elements:.1%} zeros, {stored}",
        soft_wrap=True,
    )
    console.print(
        f"bytes  {made.before:,} before, {made.after:,} after ({made.after / made.before:.1%})",
        soft_wrap=True,
    )
    console.print(f"model  {made.path}", soft_wrap=True)


def parser() -> Parser:
    """The options of ``secateur pack``."""
    made = Parser(
        prog="secateur pack", description="Stores the sparse weights of an ONNX file as gaps and values."
    )
    made.add_argument("file", type=str, help="an .onnx file, whoever wrote it")
    made.add_argument(
        "--out", type=str | None, default=None, help="the file to write (default: .sparse.onnx beside it)"
    )
    made.add_argument("--weights", type=Literal["sparse", "sparse_float16"], default="sparse", help=PACKED)
    return made
