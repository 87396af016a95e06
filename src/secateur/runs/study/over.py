"""Options that a comparison is trained with several values of: what ``--over`` says, and what it comes to for each recipe."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from typing import Any, cast

from secateur.runs.arguments import spelt_out
from secateur.runs.config import Config, telling, train_parser
from secateur.runs.parser import missing
from secateur.runs.study.variants import Configs, Variant
from secateur.runs.written import said

Settings = tuple[tuple[str, str], ...]  # option to value
Over = Sequence[str] | Mapping[str, Sequence[Any]]
_SHAPE = "give an option and its values, such as lr=1e-3,3e-3"
_ELSEWHERE = {
    "seed": "the seeds are --seeds",
    "method.density": "the densities are --density",
    "method.name": "the recipes are the methods; name several",
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


@dataclass(frozen=True)
class Chosen:
    """One value of each option that a recipe has.

    Args:
        words: Of the command line.
        settings: Option to value, as the configuration has it.
        apart: Those of them that are not what the recipe has without.
    """

    words: tuple[str, ...] = ()
    settings: Settings = ()
    apart: Settings = ()


def read_sweeps(over: Over, options: Sequence[str]) -> tuple[Sweep, ...]:
    """What is swept, each option once.

    Args:
        over: ``["lr=1e-3,3e-3"]``, as on the command line, or ``{"lr": [1e-3, 3e-3]}``.
        options: Of ``secateur train``, for all runs.

    Raises:
        ValueError: If a sweep cannot be understood, or its option is given otherwise.
    """
    pairs = (
        [(option, tuple(map(_word, values))) for option, values in over.items()]
        if isinstance(over, Mapping)
        else [_pair(text) for text in over]
    )
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


def choices(sweeps: Sequence[Sweep], variant: Variant, configs: Configs) -> list[Chosen]:
    """Every combination of values that a recipe has the options for, each once.

    Raises:
        ValueError: If a value is none of its option, or two make the same run.
    """
    found: dict[tuple[str, ...], Chosen] = {}
    runs: dict[str, tuple[str, ...]] = {}
    for values in product(*(sweep.values for sweep in sweeps)):
        given = [(sweep.option, value) for sweep, value in zip(sweeps, values, strict=True)]
        names = _words([pair for pair in given if _chooses(pair[0])])
        own = configs.of(variant, names)
        taken = [(o, v) for o, v in given if _chooses(o) or _held(own, o) is not _NOT_THERE]
        words = _words(taken)
        if words in found:
            continue
        try:
            config = configs.of(variant, words)
        except ValueError as refused:
            raise ValueError(f"{refused}{_brackets(taken, own)}") from refused
        run = json.dumps(telling(config), sort_keys=True, default=str)
        if (other := runs.setdefault(run, words)) != words:
            raise ValueError(
                f"--over: {' '.join(other)} and {' '.join(words)} make the same run of {variant.name}; leave one out."
            )
        settings = tuple((o, _said(_held(config, o), v)) for o, v in taken)
        apart = tuple(s for n, s in enumerate(settings) if _tells(taken, n, config, variant, configs))
        found[words] = Chosen(words, settings, tuple(sorted(apart)))
    return list(found.values())


def check_known(sweeps: Sequence[Sweep], variants: Sequence[Variant], found: Sequence[Chosen]) -> None:
    """Raises ValueError if no recipe has an option that is swept, naming the nearest."""
    there = {option for chosen in found for option, _ in chosen.settings}
    for sweep in sweeps:
        if sweep.option not in there:
            parser = train_parser([variants[-1].recipe, *variants[-1].options], exits=False)
            if sweep.option in parser.keys:
                raise ValueError(
                    f"--over {sweep.option}: it tells no run from another; give it as an option."
                )
            raise ValueError(f"--over {missing(sweep.option, sorted(parser.keys), parser.parts)}")


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


def folder_words(apart: Settings) -> list[str]:
    """Settings as the name of a folder has them, each value by a hash where it cannot stand there."""
    made: list[str] = []
    for option, value in apart:
        plain = re.sub(r"[^\w.+-]+", "_", value)
        if plain != value or len(value) > 40:
            plain = f"{plain[:24]}~{sha256(value.encode()).hexdigest()[:8]}"
        made.append(f"{option.removesuffix('.name')}={plain}")
    return made


def _brackets(taken: Sequence[tuple[str, str]], config: Config) -> str:
    """Where a value of a list has none, it may have been cut at its commas."""
    cut = [o for o, value in taken if isinstance(_held(config, o), list) and not value.startswith("[")]
    return f" A value with commas stands in brackets: --over {cut[0]}=[a,b],[c,d]." if cut else ""


def _pair(text: str) -> tuple[str, tuple[str, ...]]:
    option, equals, values = text.partition("=")
    option = option.strip().removeprefix("--")
    if not equals or not option or option.startswith("{"):
        raise ValueError(f"--over is {said(text, 80)}; {_SHAPE}.")
    return option, tuple(split(values))


def _unquoted(part: str) -> str:
    return part[1:-1] if len(part) > 1 and part[0] == part[-1] and part[0] in "\"'" else part


def _words(given: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(f"--{option}={value}" for option, value in given)


def _chooses(option: str) -> bool:
    """Whether it names a part, which decides on other options."""
    return option.endswith(".name")


def _tells(
    taken: Sequence[tuple[str, str]], place: int, config: Config, variant: Variant, configs: Configs
) -> bool:
    """Whether the run would be another without one of its settings."""
    try:
        without = configs.of(variant, _words([*taken[:place], *taken[place + 1 :]]))
    except ValueError:  # another setting needs it
        return True
    return telling(without) != telling(config)


_NOT_THERE = object()


def _held(config: Mapping[str, Any], option: str) -> Any:
    value: Any = config
    for key in option.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return _NOT_THERE
        value = cast("Mapping[str, Any]", value)[key]
    return value


def _said(value: Any, given: str) -> str:
    """A value as tables and folders write it, however it was spelt."""
    return given if value is _NOT_THERE else _word(value)


def _word(value: Any) -> str:
    """As the command line takes it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(_members(cast("Mapping[str, Any]", value))) + "}"
    return f"[{', '.join(map(_word, value))}]" if isinstance(value, (list, tuple)) else str(value)


def _members(value: Mapping[str, Any]) -> Iterator[str]:
    return (f"{key}: {_word(inner)}" for key, inner in value.items())
