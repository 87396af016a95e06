"""The parser of every verb: help from docstrings, and complaints of one line that say what was nearest."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, cast, get_args, get_origin

import yaml
from jsonargparse import ArgumentParser, Namespace

_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    NoneType: "null",
}
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


class Parser(ArgumentParser):
    """jsonargparse's parser, spelling options with - or _ and lists with or without brackets."""

    listing: str = ""
    """Stands below the help as it is."""
    files: Sequence[Path] = ()
    """What else options are read from."""
    parts: Mapping[str, str] = {}
    """Kind of a part to the one chosen, which has options of its own."""
    hint: str = ""
    """What else is said where an option does not exist."""
    _given: Sequence[str] = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **options)  # so that an option is what it is called

    def read(self, argv: Sequence[str]) -> Namespace:
        """Parses; a list may be written ``seg,depth`` or ``'[seg, depth]'``, in one word or several."""
        self._given = bracketed(spelt(argv, self.options), self._hints(_is_list), self._hints(_holds_text))
        return self.parse_args(self._given)

    def check_least(self, arguments: Namespace, least: Mapping[str, float]) -> None:
        """Ends with status 2 if the number of an option is smaller than it may be; ``least`` is option to the smallest."""
        for key, smallest in least.items():
            value: Any = arguments.get(key)
            if isinstance(value, (int, float)) and not value >= smallest:
                self.error(f"{self._place(key)} is {value}; give at least {smallest}.")

    def check_keys(self, path: Path, content: Mapping[str, Any]) -> None:
        """Ends with status 2 if a file has an option that does not exist."""
        parts = self.parts.keys() | {key.partition(".")[0] for key in self.keys if "." in key}
        inside = {
            f"{key}.{name}"
            for key, value in content.items()
            if key in parts and isinstance(value, Mapping)
            for name in cast("Mapping[str, Any]", value)
        }
        for key in sorted(inside | {key for key in content if key not in parts}):
            if key not in self.keys:
                self.error(f"{path}: {missing(key, self.keys, self.parts)}")
            part, _, name = key.partition(".")
            value, hint = content[key] if key in content else content[part][name], self.takes(key)
            if value is None and hint is not Any and NoneType not in get_args(hint):
                self.error(f"{path}: {key} is empty; give {words(hint)}, or take it out.")

    @property
    def options(self) -> list[str]:
        """All options as they are written."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    @property
    def keys(self) -> set[str]:
        """All options as a file names them."""
        return {action.dest for action in self._actions}

    def takes(self, key: str) -> Any:
        """The type of the option that a file names so, Any where it has none."""
        action = next(a for a in self._actions if a.dest == key)
        return getattr(action, "_typehint", None) or getattr(action, "type", None) or Any

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Says what is wrong in a line, and ends with status 2; without ``exit_on_error`` a ValueError says it."""
        said = self._said(message)
        if not self.exit_on_error:
            raise ValueError(said) from ex
        sys.stderr.write(f"error: {said} `{self.prog} --help` lists the options.\n")
        self.exit(2)

    def format_help(self, *formatter: Any, **named: Any) -> str:  # which releases of jsonargparse differ in
        """As of jsonargparse, without the marks that docstrings are written with."""
        text = super().format_help(*formatter, **named)
        text = _ROLE.sub(lambda role: role[1].rpartition(".")[2], text).replace("``", "")
        return f"{text}\n{self.listing}" if self.listing else text

    def _hints(self, are: Callable[[Any], bool]) -> set[str]:
        return {n for n, a in self._option_string_actions.items() if are(getattr(a, "_typehint", None))}

    def _said(self, message: str) -> str:
        key = re.match(r"Parser key \"([^\"]+)\"", message)
        value = re.findall(r"(?:Got|Given) value: (.*)", message)
        if key is None or not value:
            told = message if key is None else f"{self._place(key[1])}: {message[key.end() :].lstrip(': ')}"
            said = complaint(told, self.options, self.parts)
            return f"{said} {self.hint}" if self.hint and "has no option" in said else said
        hint = next((getattr(a, "_typehint", None) for a in self._actions if a.dest == key[1]), None)
        quotes = ", in quotes where YAML reads it as something else" if _misread(value[-1], hint) else ""
        return f"{self._place(key[1])} is {value[-1]!r}; give {words(hint)}{quotes}.{nearest(value[-1], _literals(hint))}"

    def _place(self, key: str) -> str:
        """An option as it was given: on the command line, or in the files that were read."""
        here = any(word.partition("=")[0] == f"--{key}" for word in self._given)
        return f"--{key}" if here or not self.files else f"{', '.join(map(str, self.files))}: {key}"


def spelt(argv: Sequence[str], options: Collection[str]) -> list[str]:
    """Options written with the other of - and _ as they are called."""
    made: list[str] = []
    for argument in argv:
        name, equals, value = argument.partition("=")
        if name.startswith("--") and name not in options:
            other = (f"--{name[2:].replace(*pair)}" for pair in (("-", "_"), ("_", "-")))
            name = next((o for o in other if o in options), name)
        made.append(f"{name}{equals}{value}")
    return made


def bracketed(argv: Sequence[str], lists: Collection[str], texts: Collection[str] = ()) -> list[str]:
    """The values of options that take a list as one word in brackets: ``--tasks seg,depth`` is ``--tasks [seg,depth]``.

    Of those in ``texts`` every word is text, also what YAML reads as a number or a truth, such as 2012 and on; null and ~ are none.
    """
    made, rest = list[str](), list(argv)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if name not in lists or not (equals or rest):
            made.append(argument)
            continue
        values = [value if equals else rest.pop(0)]
        whole = re.match(r"\s*[\[({]|(null|~)$", values[0])
        while not whole and not equals and rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        value = values[0] if whole else f"[{','.join(values)}]"
        made.append(f"{name}={_quoted(value) if name in texts else value}")
    return made


def _quoted(value: str) -> str:
    try:
        found = yaml.compose(value, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):  # which the parser says
        return value
    nodes: list[Any] = found.value if isinstance(found, yaml.SequenceNode) else []
    texts = [None if n.tag.endswith(":null") else n.value for n in nodes if isinstance(n, yaml.ScalarNode)]
    return json.dumps(texts, ensure_ascii=False) if len(texts) == len(nodes) > 0 else value


def nearest(word: str, known: Iterable[str], start: str = "") -> str:
    """``" Did you mean X?"`` where something known is spelt much like ``word``, or else nothing; X after ``start``."""
    lower = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    found = found or [name for name in lower if len(word) > 2 and name.startswith(word.lower())]
    return f" Did you mean {start}{lower[found[0]]}?" if found else ""


def close(word: str, known: Iterable[str]) -> bool:
    """Whether ``word`` is something known with a letter or two wrong, so that no other is meant."""
    return bool(get_close_matches(word, known, n=1, cutoff=0.8))


def complaint(message: str, options: Collection[str], parts: Mapping[str, str] | None = None) -> str:
    """What a parser says, in one line, with that of ``options``, as they are written, that is nearest to one that does not exist."""
    if message.startswith("unrecognized arguments: "):
        given = message.partition(": ")[2].split()
        wrong = [word.partition("=")[0] for word in given if word.startswith("-")]
        if not wrong:
            return f"{given[0]!r} is one word too many."
        return " ".join(missing(word, options, parts or {}) for word in wrong)
    line = " ".join(message.split())
    if chosen := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)$", line):
        line += f".{nearest(chosen[1], [word.strip(chr(39)) for word in chosen[2].split(', ')])}"
    return line if line.endswith((".", "?", "`")) else f"{line}."


def missing(option: str, options: Iterable[str], parts: Mapping[str, str]) -> str:
    """That there is no such option, of what, and which is nearest."""
    start, dot, name = option.partition(".")
    kind = start.lstrip("-")
    if kind not in parts or not dot:
        short = [o.removesuffix(".name") for o in options]  # --data.name may be written --data
        return f"{option}: no such option.{nearest(option, short)}"
    own = [o.removeprefix(f"{start}.") for o in options if o.startswith(f"{start}.")]
    others = {o.rpartition(".")[2]: o for o in options if "." in o}
    near = nearest(name, own, f"{start}.") or nearest(others.get(name, ""), others.values())
    return f"{option}: {kind} {parts[kind]} has no option {name}.{near}"


def words(hint: Any) -> str:
    """What an option of this type takes."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(filter(None, (", ".join(map(str, inner[:-1])), str(inner[-1]))))
    if origin in (Union, UnionType):
        return ", or ".join(words(part) for part in inner if part is not NoneType)
    if origin is tuple and inner and inner[-1] is not ...:
        return f"{len(inner)} values such as {','.join(['0.1', '0.8', '0.9'][: len(inner)])}"
    if _is_list(hint):
        of = ", ".join(_literals(hint))
        return f"a list of any of {of}" if of else "a list such as a,b"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping such as '{name: value}'"
    return _NAMES.get(hint, "a value of its type")


def _is_list(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not NoneType]
        return bool(parts) and all(map(_is_list, parts))
    return isinstance(origin, type) and issubclass(origin, (Sequence, tuple)) and not issubclass(origin, str)


def _kinds(hint: Any) -> list[Any]:
    return [kind for part in get_args(hint) for kind in _kinds(part)] or [hint]


def _holds_text(hint: Any) -> bool:
    """Whether it is a list of text, and of no numbers that text could be taken for."""
    return _is_list(hint) and str in _kinds(hint) and all(k not in (int, float, bool) for k in _kinds(hint))


def _misread(value: str, hint: Any) -> bool:
    """Whether text was wanted where YAML read something else."""
    text = all(kind in (str, NoneType) for kind in _kinds(hint))
    return text and re.fullmatch(r"[\d._+-]+|True|False|None", value) is not None


def _literals(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    return [value for part in get_args(hint) for value in _literals(part)]
