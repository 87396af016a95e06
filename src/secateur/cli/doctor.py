"""``secateur doctor``: is my copy of a data set complete and sane?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from torch.utils.data import Dataset

from secateur.cli.console import named, output
from secateur.data import FRAMES, Sample, TooFewError
from secateur.data.doctor import Split, examine, picture
from secateur.runs import Parser, find, nearest, parse_size, spelt_out

_MOST = 20  # problems of a split that are printed; how many more there are is said


def doctor(argv: list[str]) -> None:
    """Reads every sample, prints what was found, at most 20 problems a split, and writes samples as a picture.

    Raises:
        ValueError: If something is wrong with the data; it counts the problems, which are printed before.
    """
    argv = [spelt_out(argument) for argument in argv]
    chosen = next((b for a, b in pairwise(argv) if a == "--data.name"), None)
    chosen = chosen or next((a.partition("=")[2] for a in argv if a.startswith("--data.name=")), None)
    if chosen not in FRAMES and not {"-h", "--help"} & set(argv):
        why = " is your own, and the doctor knows ours" if "." in (chosen or "") else ": no such data set"
        given = "" if chosen is None else f"--data {chosen}{why}. "
        near = "" if chosen is None else nearest(chosen, FRAMES)
        raise ValueError(f"{given}Give --data with one of {', '.join(FRAMES)}.{near}")
    arguments = parser(chosen).read(argv)
    assert chosen is not None  # or help was shown
    frames = FRAMES[chosen]
    options: dict[str, Any] = {**arguments.data.as_dict(), "size": parse_size(arguments.size)}
    taken = inspect.signature(frames).parameters
    console, out = output(), named(arguments.out)
    given = {k: v for k, v in options.items() if k in taken and v is not None}
    defaults = {k: found.default for k, found in taken.items()}
    found = examine(_samples(frames, given, defaults, console))
    console.print(_table(found))
    for split in found.values():
        for problem in split.problems[:_MOST]:
            console.print(problem, soft_wrap=True, style="red")
        if len(split.problems) > _MOST:
            console.print(f"... and {len(split.problems) - _MOST} more", style="red")
    if any(split.samples for split in found.values()):
        console.print(f"samples {picture(found, out)}", soft_wrap=True)
    wrong = sum(len(split.problems) for split in found.values())
    if wrong:
        raise ValueError(f"{wrong} problem{'s' if wrong > 1 else ''} in {chosen}, named above.")
    console.print("nothing wrong was found")


def parser(chosen: str | None = None) -> Parser:
    """The options of ``secateur doctor``, with those of a data set where one is chosen."""
    made = Parser(
        prog="secateur doctor",
        usage="secateur doctor --data NAME [options]",
        description="Reads every sample of a data set and says what is wrong, and where.",
    )
    made.add_argument(
        "--data.name", default=chosen, help=f"which data set (--data is as good): {', '.join(FRAMES)}"
    )
    made.add_argument("--size", type=str | None, default=None, help="height x width, such as 120x160")
    made.add_argument("--out", type=str, default="doctor.png", help="the picture of samples")
    if chosen in FRAMES:
        made.parts = {"data": chosen}
        made.add_function_arguments(find("data", chosen), "data", skip={"size", "batch", "workers"})
    return made


def _samples(
    frames: Callable[..., Mapping[str, Dataset[Sample]]],
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    console: Console,
) -> Mapping[str, Dataset[Sample]]:
    """The samples; where a default would hold out more of a small copy than there is, a tenth is held out."""
    try:
        return frames(**given)
    except TooFewError as error:
        if given.get(error.name) != defaults[error.name] or error.samples < 2:
            raise
        count = max(1, error.samples // 10)
        console.print(f"{error.name} is {count} here, for there are only {error.samples} training samples")
        return _samples(frames, {**given, error.name: count}, defaults, console)


def _table(found: Mapping[str, Split]) -> Table:
    """A row for each split and field."""
    heads = ("split", "samples", "size", "field", "without target", "values")
    table = Table(*(Column(head, overflow="fold") for head in heads), show_edge=False, pad_edge=False)
    for name, split in found.items():
        sizes = ", ".join(f"{h}x{w}" for h, w in list(split.sizes)[:3])
        first = (name, str(split.samples), sizes + (", ..." if len(split.sizes) > 3 else ""))
        for number, key in enumerate(split.invalid or [""]):
            start = first if number == 0 else ("", "", "")
            table.add_row(*start, key, f"{split.invalid.get(key, 0):.1%}", _values(split, key))
    return table


def _values(split: Split, key: str) -> str:
    if key in split.classes:
        total = split.classes[key].total()
        counts = sorted(split.classes[key].items())
        return " ".join(f"{label}:{n / max(total, 1):.1%}" for label, n in counts)
    low, high = split.ranges.get(key, (float("nan"), float("nan")))
    return f"{low:.3g} to {high:.3g}"
