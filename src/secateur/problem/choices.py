"""Arguments that cannot be meant: a word that is none of those that the annotation has, a number that is none, no count."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from operator import index
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import numpy as np


def check_choice(name: str, value: Any, kind: Any) -> None:
    """Raises ValueError if ``value`` is a word, and none of those that ``kind`` has; of a union what is no word is not looked at.

    Args:
        name: Of the argument, for the message.
        value: What was given.
        kind: A ``Literal``, or a union with one.
    """
    known = list(_words(kind))
    if isinstance(value, str) and known and str not in get_args(kind) and value not in known:
        near = get_close_matches(value, known, n=1)
        said = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name} is {value!r}; choose one of {', '.join(map(repr, known))}.{said}")


def check_count(what: str, value: Any, least: int | None = 1, remedy: str = "") -> None:
    """Raises ValueError if ``value`` is no whole number of at least ``least``; True and False are none.

    Args:
        what: The argument, for the message; one that ends in ``=`` is said as ``name=value``, which a command line shows as its option.
        value: What was given.
        least: The smallest; None for any.
        remedy: What to give, where there is more to say.
    """
    if is_count(value, least):
        return
    said = f"{what}{value!r}" if what.endswith("=") else f"{what} is {value!r}"
    wanted = "give a whole number" if least is None else f"give a whole number of at least {least}"
    raise ValueError(f"{said}; {remedy or wanted}.")


def is_count(value: Any, least: int | None = 1) -> bool:
    """Whether it is a whole number of at least ``least``; True and False are none."""
    try:
        whole = index(value)
    except TypeError:
        return False
    return not isinstance(value, bool) and (least is None or whole >= least)


def is_number(value: Any) -> bool:
    """Whether it is a finite number; words, True and False are none."""
    try:
        return not isinstance(value, (str, bool, np.bool_)) and math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return False


def check_arguments(
    made: Callable[..., Any], who: str, given: Sequence[Any], settings: Mapping[str, Any]
) -> None:
    """Raises ValueError naming the first argument of ``who`` that is a misspelt word, is or holds NaN or an infinity, or is no count.

    Args:
        made: The ``__init__`` that the arguments are for; ones that it does not take are its own to refuse.
        who: Whose, for the message.
        given: Positional arguments.
        settings: Arguments by name.
    """
    try:
        arguments = inspect.signature(made).bind_partial(None, *given, **settings).arguments
    except TypeError:
        return
    try:
        kinds = get_type_hints(made)
    except (TypeError, NameError):  # names that only a type checker imports, in a class of the user's own
        kinds = dict[str, Any]()
    for name, value in arguments.items():
        if name in kinds:
            check_choice(f"{who}: {name}", value, kinds[name])
            _check_kind(f"{who}: {name}", value, kinds[name])
        if any(isinstance(number, float) and not math.isfinite(number) for number in _numbers(value)):
            raise ValueError(f"{who}: {name} is {value!r}; give finite numbers.")


def _check_kind(what: str, value: Any, kind: Any) -> None:
    """Raises ValueError for a bool where a number goes, or a fraction where a whole one does."""
    kinds = list(get_args(kind)) if get_origin(kind) in (Union, UnionType) else [kind]
    held = {part for one in kinds if get_origin(one) in (dict, Mapping) for part in get_args(one)[1:]}
    if isinstance(value, Mapping) and held & {int, float}:
        items = cast(Mapping[Any, Any], value).items()
        if any(isinstance(number, bool) for _, number in items):
            raise ValueError(f"{what} is {value!r}; give numbers.")
    if not {int, float} & {one for one in kinds if isinstance(one, type)} or bool in kinds:
        return
    if isinstance(value, bool) or (isinstance(value, float) and float not in kinds and math.isfinite(value)):
        wanted = "a number" if float in kinds else "a whole number"
        raise ValueError(f"{what} is {value!r}; give {wanted}{', or None' if type(None) in kinds else ''}.")


def _numbers(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return cast(Mapping[Any, Any], value).values()
    return cast(Sequence[Any], value) if isinstance(value, (tuple, list)) else [value]


def _words(kind: Any) -> Iterator[str]:
    if get_origin(kind) is Literal:
        yield from (word for word in get_args(kind) if isinstance(word, str))
    elif get_origin(kind) not in (dict, list, tuple, Mapping, Sequence):
        for part in get_args(kind):
            yield from _words(part)
