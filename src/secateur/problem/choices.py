"""Arguments that cannot be meant: a word that is none of those that the annotation has, a number that is none."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints


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


def check_arguments(
    made: Callable[..., Any], who: str, given: Sequence[Any], settings: Mapping[str, Any]
) -> None:
    """Raises ValueError naming the first argument of ``who`` that is a misspelt word, or is or holds NaN or an infinity.

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
        if any(isinstance(number, float) and not math.isfinite(number) for number in _numbers(value)):
            raise ValueError(f"{who}: {name} is {value!r}; give finite numbers.")


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
