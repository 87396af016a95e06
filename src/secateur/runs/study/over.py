"""Options that a comparison is trained with several values of, and what they come to for each recipe."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from typing import Any, cast

from secateur.runs.config import Config, telling, train_parser
from secateur.runs.parser import missing
from secateur.runs.study.sweeps import Sweep, as_word
from secateur.runs.study.variants import Configs, Variant

Settings = tuple[tuple[str, str], ...]  # option to value


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
        taken = [(o, v) for o, v in given if _chooses(o) or _has(own, o)]
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


def check_known(
    sweeps: Sequence[Sweep], variants: Sequence[Variant], found: Sequence[Chosen], options: Sequence[str]
) -> None:
    """Raises ValueError if no recipe has an option that is swept, naming the nearest."""
    there = {option for chosen in found for option, _ in chosen.settings}
    for option in (sweep.option for sweep in sweeps if sweep.option not in there):
        parsers = [train_parser([v.recipe, *options, *v.options], exits=False) for v in variants]
        if any(option in parser.keys for parser in parsers):
            raise ValueError(f"--over {option}: it tells no run from another; give it as an option.")
        keys = sorted({key for parser in parsers for key in parser.keys})
        told = dict.fromkeys(missing(option, keys, parser.parts) for parser in reversed(parsers))
        near = [text for text in told if "Did you mean" in text]
        raise ValueError(f"--over {(near or [*told])[0]}")


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
FLOORS = ("floors", "tries")
"""Options of methods that have a density to back off from."""


def takes_density(config: Config) -> bool:
    """Whether its method has one."""
    return "density" in config["method"]


def _held(config: Mapping[str, Any], option: str) -> Any:
    value: Any = config
    for key in option.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return _NOT_THERE
        value = cast("Mapping[str, Any]", value)[key]
    return value


def _has(config: Config, option: str) -> bool:
    return _held(config, option) is not _NOT_THERE and (option not in FLOORS or takes_density(config))


def _said(value: Any, given: str) -> str:
    """A value as tables and folders write it, however it was spelt."""
    return given if value is _NOT_THERE else as_word(value)
