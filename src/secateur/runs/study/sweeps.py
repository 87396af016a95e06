"""What ``--over`` says, before it is known what it comes to: options, and the values that each has in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from secateur.runs.arguments import spelt_out
from secateur.runs.written import said

Over = Sequence[str] | Mapping[str, Sequence[Any]]
_SHAPE = "give an option and its values, such as lr=1e-3,3e-3"
_ELSEWHERE = {
    "seed": "the seeds are --seeds",
    "method.density": "the densities are --density",
    "method.name": "the recipes are the methods; name several",
    "recipe": "name several recipes",
    "out": "a comparison has one folder, --out",
    "split": "a table is of the test split",
}
_PAIRS = {"[": "]", "{": "}", "(": ")"}


@dataclass(frozen=True)
class Sweep:
    """An option and the values that it has in turn.

    Args:
        option: As a file names it, such as ``lr`` or ``method.every``.
        values: As the command line takes them.
    """

    option: str
    values: tuple[str, ...]


def read_sweeps(over: Over, options: Sequence[str]) -> tuple[Sweep, ...]:
    """What is swept, each option once.

    Args:
        over: ``["lr=1e-3,3e-3"]``, as on the command line, or ``{"lr": [1e-3, 3e-3]}``.
        options: Of ``secateur train``, for all runs.

    Raises:
        ValueError: If a sweep cannot be understood, or its option is given otherwise.
    """
    if isinstance(over, Mapping):
        pairs = [(str(option), _listed(option, values)) for option, values in over.items()]
    else:
        pairs = [_pair(text) for text in _texts(over)]
    made = tuple(Sweep(spelt_out(f"--{option}")[2:], values) for option, values in pairs)
    fixed = {spelt_out(word).partition("=")[0][2:] for word in options if word.startswith("--")}
    for sweep in made:
        option = sweep.option
        if option in _ELSEWHERE:
            raise ValueError(f"--over {option}: {_ELSEWHERE[option]}.")
        if not sweep.values or not all(sweep.values):
            raise ValueError(f"--over {option} has an empty value; {_SHAPE}, or null for none.")
        if [other.option for other in made].count(option) > 1:
            raise ValueError(f"--over names {option} twice; give all its values in one.")
        if twice := [value for value in sweep.values if sweep.values.count(value) > 1]:
            raise ValueError(f"--over {option} has {twice[0]} twice; once is enough.")
        if option in fixed:
            raise ValueError(f"--over {option}: --{option} is given as well; leave one of the two out.")
    return made


def split(text: str) -> list[str]:
    """At the commas that stand in no brackets and quotes; a value in quotes is what is in them.

    Raises:
        ValueError: If brackets or quotes do not close.
    """
    parts, closing, quote = [""], list[str](), ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and (closing or not parts[-1].strip()):
            quote = character
        elif character in _PAIRS:
            closing.append(_PAIRS[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif character == "," and not closing:
            parts.append("")
            continue
        parts[-1] += character
    if closing or quote:
        raise ValueError(f"--over: {said(text, 80)} lacks a closing {closing[-1] if closing else quote}.")
    return [_unquoted(part.strip()) for part in parts]


def _texts(over: Any) -> list[str]:
    texts = [over] if isinstance(over, str) else over
    if not isinstance(texts, (list, tuple)) or not all(
        isinstance(t, str) for t in cast("Sequence[Any]", texts)
    ):
        raise ValueError(f"--over is {said(over, 80)}; {_SHAPE}.")
    return list(cast("Sequence[str]", texts))


def _pair(text: str) -> tuple[str, tuple[str, ...]]:
    option, equals, values = text.partition("=")
    option = option.strip().removeprefix("--")
    if not equals or not option or option.startswith("{"):
        raise ValueError(f"--over is {said(text, 80)}; {_SHAPE}.")
    return option, tuple(split(values))


def _listed(option: str, values: Any) -> tuple[str, ...]:
    """Of a mapping: a list of values, or text as on the command line."""
    if isinstance(values, str):
        return tuple(split(values))
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"over {option} is {said(values, 80)}; give a list of its values.")
    return tuple(map(as_word, cast("Sequence[Any]", values)))


def _unquoted(part: str) -> str:
    return part[1:-1] if len(part) > 1 and part[0] == part[-1] and part[0] in "\"'" else part


def as_word(value: Any) -> str:
    """As the command line takes it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(_members(cast("Mapping[str, Any]", value))) + "}"
    return f"[{', '.join(map(as_word, value))}]" if isinstance(value, (list, tuple)) else str(value)


def _members(value: Mapping[str, Any]) -> Iterator[str]:
    return (f"{key}: {as_word(inner)}" for key, inner in value.items())
