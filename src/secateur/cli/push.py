"""``secateur push``: a finished run to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from secateur.cli.console import output
from secateur.runs import Parser


def push(argv: list[str]) -> None:
    """``secateur push RUN REPO``."""
    arguments = parser().read(argv)
    from secateur.runs.hub import contents
    from secateur.runs.hub import push as push_run

    console, run = output(), Path(arguments.run)
    sending = contents(run, licence=arguments.licence, repo=arguments.repo)
    for name, size in sending.sizes().items():
        console.print(f"{size:>12,} bytes  {name}", soft_wrap=True)
    for name, why in sending.left.items():
        console.print(f"stays here          {name}: {why}", soft_wrap=True)
    seen = "which you and those you let in may see" if arguments.private else "which everybody may see"
    total = sum(sending.sizes().values())
    if arguments.dry_run:
        console.print(
            f"{total:,} bytes would go to {arguments.repo}, {seen}; nothing was sent.",
            soft_wrap=True,
        )
        return
    place = push_run(
        run, arguments.repo, private=arguments.private, licence=arguments.licence, sending=sending
    )
    console.print(f"{total:,} bytes are at {place}, {seen}.", soft_wrap=True)


def parser() -> Parser:
    """The options of ``secateur push``."""
    made = Parser(
        prog="secateur push",
        description="Sends a finished run to a repository of the Hugging Face Hub: weights, configuration, figures, exported files and a "
        "model card, without checkpoints, pictures of the data and paths of this machine.",
    )
    made.add_argument("run", type=str, help="run folder")
    made.add_argument("repo", type=str, help="such as my-lab/rooms-depth; it is made where there is none")
    made.add_argument("--private", type=bool, default=True, help="nobody else may see it; false publishes it")
    made.add_argument(
        "--licence", type=str | None, default=None, help="for the card, such as mit (default: none is stated)"
    )
    made.add_argument("--dry_run", action="store_true", help="say what would be sent, and send nothing")
    return made
