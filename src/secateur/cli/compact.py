"""``secateur compact``: a smaller network with the same outputs."""

from __future__ import annotations

from pathlib import Path

from secateur.cli.console import output
from secateur.runs import DEVICE, TRUST, Parser, trusted


def compact(argv: list[str]) -> None:
    """``secateur compact RUN``."""
    arguments = parser().read(argv)
    from secateur.runs import compact_run

    path, made, sizes = compact_run(
        Path(arguments.run), round_to=arguments.round_to, trust=trusted(argv), device=arguments.device
    )
    console = output()
    console.print(made.text(), soft_wrap=True)
    for name, unit in (("params", "parameters"), ("macs", "multiply-accumulates")):
        before, after = sizes["before"][name], sizes["after"][name]
        console.print(f"{unit} {before:,} -> {after:,} ({after / max(1, before):.1%})")
    console.print(f"model  {path}", soft_wrap=True)


def parser() -> Parser:
    """The options of ``secateur compact``."""
    made = Parser(prog="secateur compact", description="Removes the channels that no output depends on.")
    made.add_argument("run", type=str, help="run folder")
    made.add_argument(
        "--round_to", type=int, default=1, help="fill channels up to a multiple of this, such as 8"
    )
    made.add_argument("--device", type=str, default="cpu", help=DEVICE)
    made.add_argument("--trust", type=str | None, default=None, help=TRUST)
    return made
