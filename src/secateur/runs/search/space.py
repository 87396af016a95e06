"""What is searched over: options of ``secateur train``, each with a range or with choices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

from secateur.runs.arguments import given, spelt_out
from secateur.runs.config import train_parser
from secateur.runs.parser import Parser, missing, words
from secateur.runs.search.over import SHAPES, Value, listed, pairs, scalar, text
from secateur.runs.written import read_recipe, said

Kind = Literal["range", "log", "choice"]
# What says where and how a run is run, not what it is; and what the figures of all trials must have alike.
_PLACES = (
    "out",
    "against",
    "workers",
    "device",
    "config",
    "trust",
    "quiet",
    "bench",
    "split",
    "recipe",
    "track",
    "snapshots",
)
_ALIKE = ("data", "size", "floors", "tries")


@dataclass(frozen=True)
class Dimension:
    """One option that is searched over.

    Args:
        option: As a file names it, such as ``method.density``.
        kind: A range, one on a logarithmic scale, or choices.
        values: The two ends, both included, or the choices.
        whole: The range is of whole numbers.
    """

    option: str
    kind: Kind
    values: tuple[Value, ...]
    whole: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """Of a range, both included."""
        low, high = self.values
        return cast(float, low), cast(float, high)

    def word(self, value: Value) -> str:
        """The option with a value, as a word of the command line."""
        return f"--{self.option}={text(value)}"

    def said(self) -> str:
        """As it is written: ``log 0.0001 0.01``."""
        listed = [text(value) for value in self.values]
        start = "log " if self.kind == "log" else ""
        return f"{start}{' '.join(listed)}" if start else f"[{', '.join(listed)}]"


def read_space(over: str | Mapping[str, Any], recipe: str, options: Sequence[str]) -> tuple[Dimension, ...]:
    """The space that a command line names, held against the options that there are.

    Args:
        over: ``'{method.density: [0.05, 0.2], lr: log 1e-4 1e-2}'``, a YAML file of it, or a mapping.
        recipe: Packaged name or path.
        options: Of ``secateur train``, for all trials.

    Raises:
        ValueError: If an option does not exist, is fixed as well, cannot be searched, or its range is empty or of the wrong kind.
    """
    made = [_dimension(option, value) for option, value in pairs(over)]
    for option in {d.option for d in made if sum(e.option == d.option for e in made) > 1}:
        raise ValueError(f"--over names {option} twice; keep one.")
    named = {f"--{d.option}": d for d in made if d.option.endswith(".name")}
    first = [d.word(d.values[0]) for d in named.values()]
    known = train_parser([recipe, *options, *first], exits=False)
    fixed = _fixed(options)
    for dimension in made:
        _check(dimension, known, fixed)
    return tuple(_numbered(dimension, known) for dimension in made)


def _dimension(option: str, value: Any) -> Dimension:
    """Two numbers are a range, anything else in a list is choices."""
    if isinstance(value, str):
        kind, *items = value.split()
        if kind not in ("log", "choice") or not items:
            raise ValueError(
                f"--over {option} is {said(value, 80)!r}; give {SHAPES}. A fixed value is an option of its own."
            )
        values = tuple(map(scalar, items))
    else:
        kind, values = "", tuple(map(scalar, value))
    if any(isinstance(v, float) and not math.isfinite(v) for v in values):
        raise ValueError(f"--over {option} has a value that is not finite; give {SHAPES}.")
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if kind == "log" and not (numbers and len(values) == 2):
        raise ValueError(
            f"--over {option} is {said(value, 80)!r}; log takes two numbers, such as log 1e-4 1e-2."
        )
    if kind == "log" or (kind == "" and numbers and len(values) == 2):
        low, high = cast("tuple[float, float]", values)
        if not low < high:
            raise ValueError(
                f"--over {option}: the range from {low:g} to {high:g} is empty; give the lower end first."
            )
        if kind == "log" and low <= 0:
            raise ValueError(f"--over {option}: a logarithmic scale begins above zero, not at {low:g}.")
        return Dimension(option, "log" if kind else "range", values)
    if len(values) < 2 or len(set(map(text, values))) < len(values):
        raise ValueError(
            f"--over {option} is {said(listed(value), 80)}; give two or more choices, each once, or {SHAPES}."
        )
    return Dimension(option, "choice", values)


def _check(dimension: Dimension, known: Parser, fixed: Mapping[str, str]) -> None:
    option = dimension.option
    start = option.partition(".")[0]
    if option == "seed":
        raise ValueError(
            "--over seed would choose the luckiest; compare the winner at several seeds: secateur compare --seeds 3."
        )
    if start in _ALIKE:
        raise ValueError(
            f"--over {option}: what trials are judged by must be the same for all; give it as an option."
        )
    if option in _PLACES:
        raise ValueError(f"--over {option}: it changes nothing in the result; give it as an option.")
    if option not in known.keys:
        raise ValueError(f"--over {missing(option, sorted(known.keys), known.parts)}")
    if option in fixed:
        raise ValueError(f"{option} is given ({fixed[option]}) and searched over; leave one of the two out.")


def _fixed(options: Sequence[str]) -> dict[str, str]:
    """Options that the command line gives, and those of its ``--config`` files, each with where it is given."""
    words = [spelt_out(option) for option in options]
    found = {word[2:].partition("=")[0]: word for word in words if word.startswith("--")}
    for path in given(words, "--config"):
        for key, value in read_recipe(Path(path)).items():
            inner: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
            names = [f"{key}.{name}" for name in inner] or [spelt_out(f"--{key}")[2:]]
            found |= {name: f"in {path}" for name in names if name not in found}
    return found


def _numbered(dimension: Dimension, known: Parser) -> Dimension:
    """The same as whole numbers where the option takes no others."""
    takes = _types(known.takes(dimension.option))
    if dimension.kind == "choice" or float in takes or Any in takes:
        return dimension
    if int not in takes:
        named = words(known.takes(dimension.option))
        raise ValueError(
            f"--over {dimension.option} is {dimension.said()}, a range; it takes {named}: give choices of these."
        )
    if any(value != int(cast(float, value)) for value in dimension.values):
        raise ValueError(f"--over {dimension.option} takes whole numbers, not {dimension.said()}.")
    return Dimension(
        dimension.option, dimension.kind, tuple(int(cast(float, v)) for v in dimension.values), True
    )


def _types(hint: Any) -> set[Any]:
    if get_origin(hint) in (Union, UnionType):
        return {kind for part in get_args(hint) for kind in _types(part)}
    return {hint} if hint is not type(None) else set()
