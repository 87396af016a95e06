"""``secateur pull``: a run of the Hugging Face Hub to a folder."""

from __future__ import annotations

from pathlib import Path

from secateur.cli.console import output
from secateur.runs import Parser


def pull(argv: list[str]) -> None:
    """``secateur pull REPO``."""
    arguments = parser().read(argv)
    from secateur.runs.hub import pull as pull_run
    from secateur.runs.report import read_run, results_table

    out = Path(arguments.out) if arguments.out else None
    found = pull_run(arguments.repo, out, revision=arguments.revision, root=arguments.root)
    output().print(results_table([read_run(found)]))
    output().print(f"run    {found}", soft_wrap=True)


def parser() -> Parser:
    """The options of ``secateur pull``."""
    made = Parser(
        prog="secateur pull",
        description="Fetches a run that `secateur push` sent, checks every file of it, and runs no code.",
    )
    made.add_argument("repo", type=str, help="such as my-lab/rooms-depth")
    made.add_argument(
        "--out", type=str | None, default=None, help="run folder (default: runs/ and the repository's name)"
    )
    made.add_argument(
        "--revision", type=str | None, default=None, help="branch, tag or commit (default: the newest)"
    )
    made.add_argument(
        "--root",
        type=str | None,
        default=None,
        help="folder of the data here, in the place of that of the machine that trained",
    )
    return made
