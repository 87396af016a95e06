"""The command line's front door: it finds the verb, imports that one alone, and says what went wrong.

Nothing is imported here that ``secateur --help`` does not need.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

VERBS = {
    "train": "train",
    "evaluate": "evaluate",
    "report": "report",
    "compare": "compare",
    "overlap": "overlap",
    "compact": "compact",
    "export": "export",
    "bench": "bench",
    "doctor": "doctor",
}
"""Verb to the file of this room that has the function of its name, and its options as ``parser``."""

_USAGE = """usage: secateur {train,evaluate,report,compare,overlap,compact,export,bench,doctor} ...

  secateur train RECIPE [options]          train by a recipe: dense, adapmtl, ..., or a YAML file of your own
  secateur evaluate RUN [--split val]      the metrics of a finished run, computed anew
  secateur report RUN [RUN ...]            one page about several runs, dense first
  secateur compare RECIPE [RECIPE ...]     several recipes, seeds, densities or combinations of tasks in one table
  secateur overlap RUN                     where the tasks of a run disagree about the weights that they share
  secateur compact RUN                     a smaller network with the same outputs
  secateur export RUN --format onnx        a file for an engine: onnx, openvino, executorch, pt2
  secateur bench RUN --against DENSE       how fast it is, in which engine
  secateur doctor --data NAME              is a copy of a data set complete and sane
  secateur --version                       which secateur this is

`secateur train --help` lists recipes and options."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0 done, 1 failed, 2 asked wrongly."""
    argv = list(sys.argv[1:] if argv is None else argv)
    verb = argv[0] if argv else ""
    if verb in ("", "-h", "--help", "help"):
        _say(_USAGE)
        return 0 if verb else 2
    if verb not in (*VERBS, "--version"):
        return _refuse(verb)
    try:
        if verb == "--version":
            return _say(f"secateur {_version()}")
        getattr(import_module(f"secateur.cli.{VERBS[verb]}"), verb)(argv[1:])
    except (ValueError, OSError, FloatingPointError, ImportError, RuntimeError) as error:
        _complain(f"error: {error}", style="red")
        return 1
    except KeyboardInterrupt:
        _complain("stopped; the same command goes on from the last checkpoint")
        return 130
    return 0


def _refuse(verb: str) -> int:
    from difflib import get_close_matches

    found = get_close_matches(verb, [*VERBS, "--version", "--help"], n=1)
    near = f" Did you mean `secateur {found[0]}`?" if found else ""
    _complain(f"error: no verb {verb!r}.{near} The verbs are {', '.join(VERBS)}.", style="red")
    return 2


def _version() -> str:
    from importlib.metadata import version

    return version("secateur")


def _say(text: str) -> int:
    """To standard output, without the console of the verbs, which takes longer to import than this is to read."""
    sys.stdout.write(f"{text}\n")
    return 0


def _complain(text: str, style: str = "") -> None:
    from secateur.cli.console import errors

    errors().print(text, markup=False, style=style, soft_wrap=True)
