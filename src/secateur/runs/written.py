"""YAML files that somebody wrote, as plain values: nothing in them is imported, whoever parses them next."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from inspect import isclass
from math import inf
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

_LEAVES = (str, int, float, bool, complex, NoneType, Path, Any, object, ...)
_BUILT_IN = (tuple, list, dict, set, frozenset)
_HOLDERS = (*_BUILT_IN, Union, UnionType, Annotated, Iterable, Collection, Sequence, Mapping)
_LARGEST = 100_000  # values that a configuration may hold, each counted as often as an alias repeats it
_LOADER = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml's, several times faster, where PyYAML has it
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def said(value: object, most: int = 200) -> str:
    """What a file or a library says, for an error: on one line, and not more of it than a reader wants."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def values_of(text: str | bytes) -> Any:
    """YAML as plain values: no tag of it makes anything else.

    Raises:
        Exception: Of every kind, if it is not that.
    """
    return yaml.load(text, Loader=_LOADER)


def read(path: Path) -> dict[str, Any]:
    """The content of a YAML file that holds a configuration.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no YAML of plain values, or no mapping; names the file and where in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = values_of(text)
        size = _expanded(content)
        twice = _twice(text)
    except OSError:
        raise
    except Exception as error:  # what values such as `!!bool x` raise, and nests too deep, is of every kind
        raise ValueError(f"{path}{_place(error)}; mend it there by hand.") from error
    if twice:
        raise ValueError(f"{path}: {twice}, and the last would count alone; keep one.")
    if size == inf:
        raise ValueError(f"{path} holds a value that contains itself; write it without aliases.")
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path} holds {said(reprlib.repr(content), 80)}, no options; give lines such as 'steps: 2000'."
        )
    return {str(key): value for key, value in content.items()}


def _place(error: Exception) -> str:
    """Where a file is no YAML of plain values, and why."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f" is not YAML of plain values ({said(error)})"
    why = said(getattr(error, "problem", None) or "it is not understood")
    return f", line {mark.line + 1}, column {mark.column + 1}, is not YAML of plain values ({why})"


def _twice(text: str) -> str:
    """Which key stands twice in one mapping, and in which lines; empty where none does."""
    left, seen = [yaml.compose(text, Loader=_LOADER)], set[int]()
    while left:
        node = left.pop()
        if node is None or id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left += node.value
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            left += [key, value]
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":  # of which each counts
                continue
            if key.value in lines:
                one = lines[key.value]
                place = f"line {line}" if one == line else f"lines {one} and {line}"
                return f"{said(key.value, 80)} is there twice, in {place}"
            lines[key.value] = line
    return ""


def check_size(path: Path, content: Mapping[str, Any]) -> None:
    """Raises ValueError if aliases repeat so much that whoever copies the values would run out of memory."""
    if _expanded(content) > _LARGEST:
        raise ValueError(
            f"{path} holds more than {_LARGEST} values, aliases written out; write it without aliases."
        )


def read_recipe(path: Path) -> dict[str, Any]:
    """As :func:`read`, for a file that jsonargparse reads too; it imports what ``class_path`` names, so that is refused.

    An empty file is an empty recipe.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it cannot be understood, names a class, or says what only a command line may say.
    """
    content = read(path) if path.read_bytes().strip() else {}
    for key in ("config", "trust", "track", "snapshots"):
        if any(k.partition(".")[0] == key and v is not None for k, v in content.items()):
            raise ValueError(f"{path}: {key} is for the command line alone; give --{key} there.")
    for keys, _ in _looked_into(path, content):
        if "class_path" in keys:
            raise ValueError(
                f"{path}: {'.'.join(keys)} names a class to import; a file holds plain values, so take it out."
            )
    return content


def options_of(content: Mapping[str, Any], kind: str, place: object) -> dict[str, Any]:
    """A file's options of a part: nested, or at the top as ``kind.option``; ``place`` is the file, for errors.

    Raises:
        ValueError: If the part is given as something else than its options.
    """
    nested = content.get(kind)
    if nested is not None and not isinstance(nested, Mapping):
        raise ValueError(
            f"{place}: {kind} is {said(reprlib.repr(nested), 80)}; give its name and options, such as {kind}: {{name: ...}}."
        )
    start = f"{kind}."
    flat = {key.removeprefix(start): value for key, value in content.items() if key.startswith(start)}
    inside = {str(key): value for key, value in (nested or {}).items()}
    if twice := [name for name in inside if name in flat]:
        raise ValueError(f"{place}: {start}{twice[0]} is there twice, in {kind} and alone; keep one.")
    return {**inside, **flat}


def check_values(path: Path, options: Mapping[str, Any], target: Callable[..., Any], kind: str) -> None:
    """Refuses import paths in a file's options of a part, where the part takes a class or function of its own.

    Raises:
        ValueError: If there is one, which jsonargparse would import; names file and option.
    """
    try:
        hints = get_type_hints(target.__init__ if isclass(target) else target)
    except (
        NameError,
        TypeError,
        AttributeError,
    ):  # a hint for type checkers alone: what it says is not known
        hints = None
    for keys, value in _looked_into(path, options):
        option = keys[0] if keys else "name"  # which is no option of the part
        importing = option != "name" and not (hints is not None and _plain(hints.get(option, Any)))
        if importing and isinstance(value, str) and _IMPORT_PATH.fullmatch(value):
            raise ValueError(
                f"{path}: {kind}.{'.'.join(keys)} is {value!r}, an import path; a file holds plain values, so give it on the "
                "command line, or take it out."
            )


def _looked_into(path: Path, value: Any) -> list[tuple[tuple[str, ...], Any]]:
    """Where every key and value lies, and the value; ValueError if text in the file is YAML of a nest too deep or too large."""
    try:
        return list(_leaves(value))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} holds text that is YAML itself, too deep or too large; take it out."
        ) from error


def _leaves(
    value: Any, keys: tuple[str, ...] = (), seen: dict[tuple[int, str], Any] | None = None
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Where every key and value lies, and the value; text that is YAML itself is looked into as well, as jsonargparse does.

    What an alias repeats is looked into once for each option; ``seen`` holds it, so that no other takes its id.
    """
    seen = {} if seen is None else seen
    mark = (id(value), keys[0] if keys else "")
    if mark in seen:
        return
    if isinstance(value, str):
        yield keys, value
        try:
            inner = values_of(value)
        except RecursionError:
            raise
        except Exception:  # it is text; what values such as `!!bool x` raise is of every kind
            return
        if _expanded(inner) > _LARGEST:
            raise ValueError("text that is YAML itself holds too much")
        if isinstance(inner, (Mapping, list)):
            yield from _leaves(inner, keys, seen)
    elif isinstance(value, Mapping):
        seen[mark] = value
        for key, item in value.items():
            inner = (*keys, *str(key).split("."))
            yield inner, None  # a key is one whatever it holds: nothing, or what an alias held before
            yield from _leaves(item, inner, seen)
    elif isinstance(value, (list, tuple, set)):
        seen[mark] = value
        for item in value:
            yield from _leaves(item, keys, seen)
    else:
        yield keys, value


def _expanded(value: Any, above: tuple[int, ...] = (), done: dict[int, float] | None = None) -> float:
    """How many values there are once every alias is written out; infinite where one contains itself."""
    done = {} if done is None else done
    if id(value) in above:
        return inf
    if not isinstance(value, (Mapping, list, tuple, set)):
        return 1
    if id(value) not in done:
        items = value.values() if isinstance(value, Mapping) else value
        done[id(value)] = 1 + sum(_expanded(item, (*above, id(value)), done) for item in items)
    return done[id(value)]


def _plain(hint: Any) -> bool:
    """Whether no value of this type is a class or function that must be imported."""
    origin = get_origin(hint)
    if (
        origin is Literal
        or any(hint is leaf for leaf in _LEAVES)
        or (isclass(hint) and issubclass(hint, Enum))
    ):
        return True
    return origin in _HOLDERS and all(map(_plain, get_args(hint)))
