"""The command line of a verb that trains several runs: its own options, and those of ``secateur train`` for all of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from secateur.runs.arguments import spelt_out
from secateur.runs.config import train_parser
from secateur.runs.parser import complaint, missing, spelt
from secateur.runs.study.places import Where, memory
from secateur.runs.study.seeds import SeedsAction


class SeveralParser(argparse.ArgumentParser):
    """Of the options that are not of ``secateur train``, which jsonargparse cannot leave aside."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **options)  # so that an option is what it is called

    @property
    def options(self) -> list[str]:
        """All options as they are written."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    def error(self, message: str) -> NoReturn:
        """Says what is wrong in a line, and ends with status 2."""
        said = complaint(message, self.options)
        sys.stderr.write(
            f"error: {said} `{self.prog} --help` and `secateur train --help` list the options.\n"
        )
        self.exit(2)

    def spelt(self, argv: Sequence[str]) -> list[str]:
        """Own options that are written with the other of - and _ as they are called."""
        return spelt(argv, self.options)

    def split(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Own options, and those that are left for ``secateur train``; ``--method.density`` is the own ``--density``."""
        words = [f"--density{a.removeprefix('--method.density')}" if a.startswith("--method.density") else a
                 for a in spelt(argv, self.options)]  # fmt: skip
        return self.parse_known_args(words)

    def where(self, arguments: argparse.Namespace) -> Where:
        """Where the runs train; ends with status 2 if it cannot be there."""
        if arguments.jobs is not None and arguments.jobs < 1:
            self.error(f"--jobs is {arguments.jobs}; give how many runs at a time.")
        try:
            return Where(arguments.on, arguments.cell_cpus, arguments.cell_gpus, arguments.cell_memory)
        except ValueError as error:
            self.error(str(error))

    def check(self, recipe: str, options: Sequence[str]) -> None:
        """Ends with status 2 if one of ``options`` is none of ``secateur train`` with this recipe."""
        of_train = train_parser([recipe, *options])
        known, given = [*self.options, *of_train.options], [spelt_out(option) for option in options]
        wrong = [name for a in given if a.startswith("--") and (name := a.partition("=")[0]) not in known]
        if wrong:
            self.error(" ".join(missing(name, known, of_train.parts) for name in wrong))


def add_grid_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Options of every grid of runs; ``out`` is the folder that is named where none is given."""
    parser.add_argument(
        "--density",
        type=density,
        nargs="+",
        action="extend",
        metavar="D",
        help="kept fractions, for methods that take one",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        action=SeedsAction,
        default=1,
        metavar="N",
        help="one number: runs of each, with seeds 0 to N-1; several: the seeds themselves, such as 0 3 7, or 7, for one",
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        action="extend",
        metavar="C",
        help="of the tables, in this order, such as delta_t seg.miou depth density (default: all)",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="runs at a time (default: one a GPU, on a CPU one)"
    )
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes that load data, a run")
    shown = out or "runs/NAME"
    parser.add_argument(
        "--out", default=out or None, metavar="DIR", help=f"folder of runs and tables (default: {shown})"
    )
    add_place_options(parser, ("here", "ray", "slurm"))


def add_place_options(parser: argparse.ArgumentParser, places: Sequence[str]) -> None:
    """Options of where runs train, of these ``places``."""
    array = "; slurm prints a job array" if "slurm" in places else ""
    parser.add_argument(
        "--on",
        choices=places,
        default="here",
        help=f"where runs train: on this machine; on the Ray cluster that RAY_ADDRESS names, or one started here{array}",
    )
    parser.add_argument(
        "--cell-cpus", type=int, metavar="N", help="cores of a run on a cluster (default: 1 + workers)"
    )
    parser.add_argument(
        "--cell-gpus",
        type=float,
        metavar="N",
        help="GPUs of a run on a cluster (default: 1 where it has any)",
    )
    parser.add_argument(
        "--cell-memory", type=amount, metavar="SIZE", help="memory of a run on a cluster, such as 8GB"
    )


def density(text: str) -> list[float]:
    """``0.1``, ``0.1,0.05`` or ``[0.1, 0.05]``."""
    return [float(word) for word in text.strip("[] ").split(",")]


def amount(text: str) -> int:
    """Bytes of such as ``8GB``, with an error that argparse passes on."""
    try:
        return memory(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
