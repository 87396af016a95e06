"""The options of ``secateur train`` beside those of training: where things lie and are shown, and those of the parts that are named."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

from secateur.runs.arguments import SHORT, SPLIT, TIMED, TRUST, Timing
from secateur.runs.names import CHOSEN, Kind
from secateur.runs.options import training
from secateur.runs.parser import Parser, close, missing

# What the run says once and hands to the parts that take it.
_LINKED = {
    "data": {"size", "batch", "seed", "workers"},
    "model": {"tasks"},
    "optimizer": {"params", "lr"},
}
_UNTYPED = re.compile(r"Parameter '(\w+)' from '(.+?)' does not specify a type")  # as jsonargparse says it
_OPTIMIZER = "which optimizer, in place of Adam: torch's by name, such as SGD, or an import path"


def linked_options(kind: Kind, target: Callable[..., Any]) -> set[str]:
    """The options of a part that the run hands to it."""
    return _LINKED.get(kind, set()) & set(inspect.signature(target).parameters)


def add_places(parser: Parser) -> None:
    """Options that change nothing in the result."""
    parser.add_argument(
        "--out", type=str | None, help="run folder (default: runs/ and a hash of the configuration)"
    )
    parser.add_argument(
        "--against",
        type=str | None,
        help="run folder of the dense reference (default: looked for beside --out)",
    )
    parser.add_argument("--trust", type=str | None, help=TRUST)
    parser.add_argument(
        "--track",
        type=list[str] | None,
        help="show the training in tensorboard, trackio, wandb or mlflow, or in several: tensorboard,trackio",
    )
    parser.add_argument(
        "--snapshots",
        type=int | None,
        help="steps between two files of weights in the run folder; none if left out",
    )
    parser.add_argument(
        "--devices", type=int, default=1, help="devices of a node, a process each, that share every batch"
    )
    parser.add_argument("--nodes", type=int, default=1, help="nodes; torchrun or SLURM starts the processes")
    parser.add_argument("--strategy", type=str, default="auto", help="ddp, or auto, which is that")
    parser.add_argument("--quiet", action="store_true", help="say nothing while it trains")
    parser.add_argument("--bench", type=Timing, default="auto", help=TIMED)
    parser.add_argument("--split", type=Literal["test", "val"], default="test", help=SPLIT)


def add_parts(parser: Parser, targets: Mapping[Kind, tuple[str, Callable[..., Any]]]) -> None:
    """Of each kind the name, and the options of the part that it names."""
    if "optimizer" not in targets:
        parser.add_argument(
            "--optimizer.name", type=str | None, help=f"{_OPTIMIZER}, which then has options of its own"
        )
    for kind, (name, target) in targets.items():
        group = parser.add_argument_group(f"--{kind} {name}")
        which = _OPTIMIZER if kind == "optimizer" else f"which {kind}: ours by name, or an import path"
        group.add_argument(f"--{kind}.name", default=name, help=which)
        add_part(group, kind, name, target, linked_options(kind, target))


def add_part(group: Any, kind: Kind, name: str, target: Callable[..., Any], skip: set[str]) -> None:
    """The options of one part: arguments of the function or class.

    Args:
        group: A parser, or a group of one.
        kind: Of the part.
        name: Of the part, for errors.
        target: The part.
        skip: Arguments that are no options.

    Raises:
        ValueError: If one without a default has no type, so that nobody knows how to read it, or the part has no arguments that
            can be read.
    """
    try:
        if inspect.isclass(target):
            group.add_class_arguments(cast(type, target), kind, as_group=False, skip=skip)
        else:
            group.add_function_arguments(target, kind, as_group=False, skip=skip)
    except ValueError as error:
        if "import path for object" in str(error):
            raise ValueError(
                f"--{kind} {name} is a {type(target).__name__}, whose arguments cannot be read; name a function or a class."
            ) from error
        untyped = _UNTYPED.search(str(error))
        if untyped is None:
            raise
        option, place = untyped.groups()
        remedy = (
            f"it is handed over, so name it among the arguments of {name} itself"
            if option in _LINKED.get(kind, ())
            else f"write one, such as {option}: int, or give it a default"
        )
        raise ValueError(
            f"--{kind} {name}: the argument {option} of {place} has no type, so --{kind}.{option} cannot be read; {remedy}."
        ) from error


def check_whole(argv: Sequence[str], exits: bool) -> None:
    """Refuses a misspelt option that is of no part, before the parts are imported to see which options they have."""
    made = Parser(prog="secateur train", exit_on_error=exits)
    made.add_argument("--config", action="config")
    add_places(made)
    names = (*inspect.signature(training).parameters, *CHOSEN)  # jsonargparse would import torch to read them
    whole = [*made.options, *(f"--{name}" for name in names), *SHORT]
    for word in argv:
        name = word.partition("=")[0].removesuffix("+")
        if name.startswith("--") and "." not in name and name not in whole and close(name, whole):
            made.error(missing(name, whole, {}))
