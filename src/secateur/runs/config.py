"""From a command line and a recipe to one resolved configuration."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from glob import escape
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from secateur.runs.arguments import (
    aggregator_name,
    callback_names,
    given,
    spelt_out,
    trusted,
    without,
)
from secateur.runs.names import CHOSEN, ROOMS, Kind, Trust, check_made, find
from secateur.runs.options import LEAST, check_recipe, listing, recipe_path, training
from secateur.runs.options import recipes as recipes
from secateur.runs.parser import Parser
from secateur.runs.parts import add_parts, add_places, check_whole, linked_options
from secateur.runs.written import check_size, check_values, options_of, read_recipe

Config = dict[str, Any]
_DEFAULTS: dict[Kind, str] = {
    "data": "rooms",
    "model": "deeplab_resnet34",
    "method": "Dense",
    "weighting": "Equal",
}
# What changes nothing in the result, and so does not tell one run from another: of the run, and of its parts.
_PLACES = (
    "out",
    "against",
    "workers",
    "device",
    "devices",
    "nodes",
    "strategy",
    "recipe",
    "config",
    "trust",
    "quiet",
    "bench",
    "track",
    "snapshots",
    "split",
)
_IDLE = {"data": {"cache"}}


def parse_size(text: str | None) -> tuple[int, int] | None:
    """``HEIGHTxWIDTH``, such as ``60x80``, as (height, width) in pixels.

    Raises:
        ValueError: If it is written otherwise.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"size is {text!r}; give height x width in pixels, such as 60x80.")
    return int(parts[0]), int(parts[1])


def parser_of(
    recipe: str | None, targets: Mapping[Kind, tuple[str, Callable[..., Any]]], exits: bool
) -> Parser:
    """The parser of ``secateur train``, with the options of the parts, each with its name."""
    parts = tuple((kind, name, target) for kind, (name, target) in targets.items())
    kept = all(callable(getattr(target, "__hash__", None)) for _, _, target in parts)
    # Which files it is for and what it was given are each one's own.
    made = copy.copy((_built if kept else _built.__wrapped__)(parts, exits))
    made.default_config_files = [escape(str(recipe_path(recipe)))] if recipe else []
    return made


@lru_cache(maxsize=64)
def _built(parts: tuple[tuple[Kind, str, Callable[..., Any]], ...], exits: bool) -> Parser:
    """Kept, since a table of sixty runs asks for each, and many recipes differ in settings alone."""
    parser = Parser(
        prog="secateur train",
        usage="secateur train RECIPE [options]",
        description="Trains a network by a recipe. A finished run returns at once, a stopped one goes on.",
        exit_on_error=exits,
    )
    parser.listing = listing()
    parser.parts = {kind: name for kind, name, _ in parts}
    parser.add_argument(
        "recipe", nargs="?", help="one of those below, or a YAML file of your own; stands first"
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the options below")
    add_places(parser)
    parser.add_function_arguments(training, as_group=True)
    add_parts(parser, {kind: (name, target) for kind, name, target in parts})
    return parser


def parse(argv: Sequence[str], exits: bool = True) -> Namespace:
    """Parses the arguments of ``secateur train``: a recipe first, then options; the parts chosen decide which.

    Args:
        argv: Words of the command line, after the verb.
        exits: A wrong option or value ends the process with a line and status 2; otherwise a ValueError says so.

    Raises:
        ValueError: If the recipe or a part does not exist, or a file names what the command line does not trust.
        OSError: If a file cannot be read.
    """
    argv = [spelt_out(argument) for argument in argv]
    check_whole(argv, exits)
    made = train_parser(argv, exits)
    arguments = made.read(without(argv, "--trust"))
    made.check_least(arguments, LEAST)
    if arguments.recipe != _recipe(argv):
        made.error(f"{arguments.recipe!r} is read as a recipe, which stands first, or is a word too many.")
    if arguments.out and not given(argv, "--out"):
        _check_inside(arguments.out)
    return arguments


def train_parser(argv: Sequence[str], exits: bool = True) -> Parser:
    """The parser for a command line of ``secateur train``; files that it names are checked before any parser sees them.

    Raises:
        As :func:`parse`.
    """
    argv = [spelt_out(argument) for argument in argv]
    trust, recipe = trusted(argv), _recipe(argv)
    paths = [recipe_path(recipe)] if recipe else []
    files = {path: read_recipe(path) for path in [*paths, *map(Path, given(argv, "--config"))]}
    for path, content in files.items():
        check_size(path, content)
        check_recipe(path, content, recipe)
    targets: dict[Kind, tuple[str, Callable[..., Any]]] = {}
    for kind in CHOSEN:
        name, place = _named(kind, argv, files)
        if name is None and kind not in ROOMS:
            continue
        targets[kind] = (str(name), find(kind, name, trust.reading(place)))
        for path, content in files.items():
            check_values(path, options_of(content, kind, path), targets[kind][1], kind)
    for path, content in files.items():
        name = aggregator_name(content.get("aggregator"))
        if name is not None:
            trust.reading(path).check("aggregator", name)
        for name in callback_names(content.get("callbacks")):
            find("callback", name, trust.reading(path))
    made = parser_of(recipe, targets, exits)
    made.files = list(files)
    made.hint = "" if recipe else "A recipe, named first, chooses the method: `secateur train adapmtl`."
    for path, content in files.items():
        made.check_keys(path, content)
    return made


def _recipe(argv: Sequence[str]) -> str | None:
    return argv[0] if argv and not argv[0].startswith("-") else None


def resolved(arguments: Namespace) -> Config:
    """What the run is, as plain values: the configuration without the places where things lie."""
    plain = arguments.clone().as_dict()
    if (plain.get("optimizer") or {}).get("name") is None:
        plain.pop("optimizer", None)  # as in folders of before one could be named
    return _plain({k: v for k, v in sorted(plain.items()) if k not in _PLACES and not k.startswith("__")})


def telling(config: Mapping[str, Any]) -> Config:
    """What of a configuration tells its run from others: without ``data.cache``, or the device that older folders name."""
    config = {key: value for key, value in config.items() if key not in _PLACES}
    parts = {k: v for k, v in config.items() if k in _IDLE and isinstance(v, Mapping)}
    return {**config, **{k: {n: v for n, v in p.items() if n not in _IDLE[k]} for k, p in parts.items()}}


def digest(config: Config) -> str:
    """Short hash of what tells a resolved configuration from others."""
    return hashlib.sha256(yaml.safe_dump(telling(config), sort_keys=True).encode()).hexdigest()[:10]


def build(kind: Kind, config: Config, trust: Trust | None = None, **linked: Any) -> Any:
    """Calls the part that ``config[kind]`` names with its options, and with those of ``linked`` that it takes.

    Raises:
        ValueError: If the part is not ours and not trusted, a size is given to data that have none, or the part refuses
            its options.
    """
    trust = trust or Trust()
    options = options_of(config, kind, trust.place or "The configuration")
    name = options.pop("name", None)
    target = find(kind, name, trust)
    taken = linked_options(kind, target)
    if linked.get("size") is not None and "size" not in taken:
        raise ValueError(f"size is given, but {kind} {name!r} has none; leave --size out.")
    options |= {key: value for key, value in linked.items() if key in taken and value is not None}
    try:
        inspect.signature(target).bind(**options)
    except TypeError as error:
        raise ValueError(
            f"{trust.place or 'The configuration'}: {kind} {name}: {error}; it takes "
            f"{', '.join(inspect.signature(target).parameters)}."
        ) from error
    made = target(**options)
    check_made(kind, str(name), made)
    return made


def _named(kind: Kind, argv: Sequence[str], files: Mapping[Path, Config]) -> tuple[Any, str]:
    """Which part is chosen, and where: by default, then by the recipe, by ``--config`` files, by the options."""
    found: tuple[Any, str] = (_DEFAULTS.get(kind), "")
    for path, content in files.items():
        if kind in ROOMS and content.get(kind, {}) is None:
            raise ValueError(f"{path}: {kind} is empty; give its name and options, or take it out.")
        options = options_of(content, kind, path)
        found = (options["name"], str(path)) if "name" in options else found
    said = given(argv, f"--{kind}.name")
    return (said[-1], "") if said else found


def _check_inside(out: str) -> None:
    """Raises ValueError if a folder that a file names to write to leads out of the working folder."""
    if not Path(out).resolve().is_relative_to(Path.cwd()):
        raise ValueError(
            f"A recipe names the folder {out} to write to, outside of this one; give --out yourself."
        )


def _plain(value: Any) -> Any:
    """Tuples as lists and paths as text, so that YAML can hold it."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
