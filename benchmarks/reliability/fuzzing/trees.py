"""Mutations of what JSON and YAML hold: one value, key or entry at a time."""

from __future__ import annotations

import marshal
import random
from collections.abc import Iterator, Sequence
from typing import Any

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 8, 64, 2**31, 2**63, -(2**63), 10**18, 10**30, 0.5, 1.0, -0.0, 1e308,
    float("nan"), float("inf"), "", " ", "x", "0", "-1", "1e9", "\x00", "\ud800", "é", "\x1b[2J", "a.b", "os.system",
    "../x", "/etc/passwd", "x" * 300, [], {}, [[]], [0], [-1], [0, 0], [10**12], [1.5], ["a"], {"": 0}, {"a": {}}, "nan",
    "~", "null", "[1, 2]", "{a: 1}", "!!python/name:os.system", "&a [*a]", "__import__('os')", "builtins.exec",
]  # fmt: skip


def mutated(tree: Any, draw: random.Random, words: Sequence[Any] = ()) -> Any:
    """A copy with one to three changes; ``words`` are values worth putting anywhere."""
    found = _copy(tree)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        found = _changed(found, draw, [*ODD, *words])
    return found


def deep(draw: random.Random) -> Any:
    """A nest of some depth."""
    found: Any = draw.choice(ODD)
    for _ in range(draw.choice((2, 5, 40, 300))):
        found = [found] if draw.random() < 0.5 else {"a": found}
    return found


def _copy(tree: Any) -> Any:
    """Ten times as fast as ``deepcopy``, for plain values."""
    return marshal.loads(marshal.dumps(tree))


def _changed(tree: Any, draw: random.Random, values: Sequence[Any]) -> Any:
    places = list(_places(tree))
    if not places or draw.random() < 0.01:
        return _copy(draw.choice(values))
    holder, key = draw.choice(places)
    way = draw.randrange(10)
    if way < 3:
        holder[key] = _copy(draw.choice(values))
    elif way == 3:
        del holder[key]
    elif way == 4 and isinstance(holder, dict):
        other = draw.choice([*holder, *(v for v in values if isinstance(v, str))])
        holder[other] = holder.pop(key)
    elif way == 4:
        holder.insert(key, _copy(holder[key]))
    elif way == 5:
        other, name = draw.choice(places)
        holder[key], other[name] = _copy(other[name]), _copy(holder[key])
    elif way == 6:
        holder[key] = _near(holder[key], draw)
    elif way == 7 and isinstance(holder, dict):
        holder[draw.choice([v for v in values if isinstance(v, str)])] = _copy(draw.choice(values))
    elif way == 7:
        draw.shuffle(holder)
    elif way == 8:
        holder[key] = [holder[key]] if draw.random() < 0.5 else {"a": holder[key]}
    else:
        holder[key] = deep(draw) if draw.random() < 0.2 else _near(holder[key], draw)
    return tree


def _near(value: Any, draw: random.Random) -> Any:
    """Something like it."""
    if isinstance(value, bool) or value is None:
        return draw.choice((True, False, None, 0, 1))
    if isinstance(value, int):
        return draw.choice(
            (value + 1, value - 1, -value, value * 2, value // 2, float(min(value, 10**300)), str(value))
        )
    if isinstance(value, float):
        return draw.choice((-value, value + 1, value * 1e30, str(value)))
    if isinstance(value, str):
        at = draw.randrange(len(value) + 1)
        return draw.choice(
            (value[:at], value[at:], value + value[:at], value[:at] + draw.choice(".:/ \x00é0") + value[at:])
        )
    if isinstance(value, list):
        return value[: draw.randrange(len(value) + 1)]
    return {k: v for k, v in value.items() if draw.random() < 0.8}


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (holder, key or index); what aliases of YAML share is looked at once, so that a few of them do not become a million."""
    stack, seen = [tree], set[int]()
    while stack:
        holder = stack.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        keys = (
            list(holder)
            if isinstance(holder, dict)
            else range(len(holder))
            if isinstance(holder, list)
            else ()
        )
        for key in keys:
            yield holder, key
            stack.append(holder[key])
