"""The command line's front door: it finds the verb, imports that one alone, and says what went wrong.

Nothing is imported here that ``secateur --help`` does not need.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

VERBS = {
    "train": "train",
    "evaluate": "evaluate",
    "report": "report",
    "compare": "compare",
    "study": "study",
    "search": "search",
    "overlap": "overlap",
    "compact": "compact",
    "prune": "prune",
    "export": "export",
    "pack": "pack",
    "bench": "bench",
    "predict": "predict",
    "push": "push",
    "pull": "pull",
    "doctor": "doctor",
    "completion": "completion",
}
"""Verb to the file of this room that has the function of its name, and its options as ``parser``."""

_WRITTEN = ("--out", "--json")  # options that name what is written
_FILES = {
    "export": "model.onnx",
    "pack": "model.sparse.onnx",
    "doctor": "doctor.png",
    "report": "report.html",
}
"""Verb whose ``--out`` is a file to the name of one; that of the others is a folder."""
_RESUMED = ("train", "compare", "study", "search")  # what goes on where it was stopped

_USAGE = """usage: secateur {train,evaluate,report,compare,study,search,overlap,compact,prune,export,pack,bench,predict,push,pull,doctor,completion} ...

  secateur train RECIPE [options]          train by a recipe: dense, adapmtl, ..., or a YAML file of your own
  secateur evaluate RUN [--split val]      the metrics of a finished run, or of an exported file, computed anew
  secateur report RUN [RUN ...]            one page about several runs, dense first
  secateur compare RECIPE [RECIPE ...]     several recipes, seeds, densities or combinations of tasks in one table
  secateur study NAME [RUN ...]            a table or figure of a paper by its name; alone it lists them
  secateur search RECIPE --over SPACE      the best settings of a recipe, by validation, on the test split once
  secateur overlap RUN                     where the tasks of a run disagree about the weights that they share
  secateur compact RUN                     a smaller network with the same outputs
  secateur prune RUN --budget '30 ms'      a trained network made to fit milliseconds, megabytes, operations or parameters
  secateur export RUN --format onnx        a file for an engine: onnx, openvino, executorch, pt2
  secateur pack FILE.onnx                  the zeros of an ONNX file, whoever pruned it, taken out of the file
  secateur bench RUN --against DENSE       how fast it is, in which engine
  secateur predict RUN photos/ --out seen  pictures with predictions drawn, of a run or an exported file
  secateur push RUN REPO                   a finished run to the Hugging Face Hub, private unless told otherwise
  secateur pull REPO --out RUN             the same back, checked, and no code run
  secateur doctor --data NAME              is a copy of a data set complete and sane
  secateur completion bash                 completion of verbs, recipes and options for bash, zsh and fish
  secateur --version                       which secateur this is

`secateur train --help` lists recipes and options."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0 done, 1 failed, 2 asked wrongly, 130 stopped by Ctrl-C, 143 by SIGTERM."""
    if argv is None:  # this process is the command line's own
        warnings.showwarning = _Warned()
    argv = list(sys.argv[1:] if argv is None else argv)
    verb = argv[0] if argv else ""
    if verb in ("", "-h", "--help", "help"):
        _say(_USAGE)
        return 0 if verb else 2
    if verb not in (*VERBS, "--version"):
        return _refuse(verb)
    if verb == "--version":
        return _say(f"secateur {_version()}")
    if verb != "bench" and "torch" not in sys.modules:
        # Threads that wait for each other then sleep. Spinning, they hold the cores that a job beside this one would use, and
        # each waits for one that has no core: 2 threads on 2 busy cores took 4 to 9 times as long. Read when torch is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if (said := _misplaced(argv)) is not None:
        _complain(f"error: {said}", style="red")
        return 1
    with _Terminable() as asked:
        try:
            getattr(import_module(f"secateur.cli.{VERBS[verb]}"), verb)(argv[1:])
        except KeyboardInterrupt:
            pass
        except Exception as error:
            if not asked.to_end:
                from secateur.cli.failed import failed

                if (said := failed(error, argv)) is None:
                    raise
                _complain(f"error: {said}", style="red")
                return 1
        else:
            return 0
        goes_on = "; the same command goes on from the last checkpoint" if verb in _RESUMED else ""
        _complain(f"stopped{goes_on}")
        return 128 + (signal.SIGTERM if asked.to_end else signal.SIGINT)


class _Warned:
    """Shows what is warned of as a line of the command line's own, each sentence once, whichever line of code says it."""

    def __init__(self) -> None:
        self._said = set[str]()

    def __call__(self, message: Warning | str, *_: object, **__: object) -> None:
        text = " ".join(str(message).split())
        if text not in self._said:
            self._said.add(text)
            with contextlib.suppress(
                OSError, ValueError, AttributeError
            ):  # nobody listens, which stops no work
                sys.stderr.write(f"warning: {text}\n")


class _Terminable:
    """SIGTERM ends a verb as Ctrl-C does, by KeyboardInterrupt; use it in a ``with``.

    What is interrupted may make something else of it, such as torch where the workers of a loader are terminated as well;
    so that the signal came is kept in ``to_end``.
    """

    def __init__(self) -> None:
        self.to_end = False
        self._process = os.getpid()
        self._before: Any = None

    def __enter__(self) -> _Terminable:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _stop(self, number: int, frame: object) -> None:
        if os.getpid() != self._process:  # a child that was forked and has nothing to tidy up
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.to_end = True
        raise KeyboardInterrupt


def _misplaced(argv: Sequence[str]) -> str | None:
    """Why an option is empty, or nothing can be written where it says; None where all is well, as far as can be seen before."""
    for place, word in enumerate(argv):
        option, equals, value = word.partition("=")
        if not option.startswith("--") or not (equals or place + 1 < len(argv)):
            continue
        value = value if equals else argv[place + 1]
        if not value.strip() and "." not in option:  # what a part takes is its own business
            return f"{option} is empty; give its value, or leave it out."
        if option not in _WRITTEN:
            continue
        try:
            there = next(
                folder for folder in (Path(value), *Path(value).absolute().parents) if folder.exists()
            )
        except (OSError, ValueError) as error:  # a name too long, or with a zero byte
            return f"{option}: no file can have the name that is given ({getattr(error, 'strerror', error)}); choose another."
        if there == Path(value) and (option == "--json" or argv[0] in _FILES):
            if there.is_dir():
                name = there / ("figures.json" if option == "--json" else _FILES[argv[0]])
                return f"{option} {value} is a folder; give the name of a file, such as {name}."
            if not there.is_file():
                return f"{option} {value} is no file; choose another {option}."
            there = there.absolute().parent  # where it is replaced
        if there != Path(value) and not there.is_dir():
            return f"Cannot write {value}: {os.path.relpath(there)} is a file, and nothing can lie below one; choose another {option}."
        if there != Path(value) and not os.access(there, os.W_OK | os.X_OK):
            return f"Cannot write {value}: {there} may not be written to; choose another {option}."
    return None


def _refuse(verb: str) -> int:
    from difflib import get_close_matches

    found = get_close_matches(verb, [*VERBS, "--version", "--help"], n=1)
    near = f" Did you mean `secateur {found[0]}`?" if found else ""
    _complain(f"error: no verb {verb!r}.{near} The verbs are {', '.join(VERBS)}.", style="red")
    return 2


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("secateur")
    except PackageNotFoundError:  # a folder of sources on the path
        return "(not installed)"


def _say(text: str) -> int:
    """To standard output, without the console of the verbs, which takes longer to import than this is to read."""
    sys.stdout.write(f"{text}\n")
    return 0


def _complain(text: str, style: str = "") -> None:
    from secateur.cli.console import errors

    errors().print(text, style=style, soft_wrap=True)
