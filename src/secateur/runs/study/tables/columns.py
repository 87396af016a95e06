"""What a comparison shows of every run: columns, how they are called, and which are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from secateur.runs.parser import nearest

T = TypeVar("T")
Better = Literal["higher", "lower", ""]
Unit = Literal["number", "points", "percent", "count", "ratio"]


@dataclass(frozen=True)
class Column:
    """One figure of every arm.

    Args:
        group: What stands above it: a task, or "ΔT".
        name: Metric.
        better: Which direction is.
        unit: How it is written: a plain number, signed percentage points, a share, a count, a ratio to dense.
    """

    group: str
    name: str
    better: Better = ""
    unit: Unit = "number"


DELTA = Column("ΔT", "mean", "higher", "points")
TOTAL = Column("ΔT", "sum", "higher", "points")
TO_SINGLE = Column("ΔT", "to single-task", "higher", "points")
DENSITY = Column("density", "overall", "", "percent")
COSTS = (
    Column("cost", "parameters", "", "count"),
    Column("cost", "MACs", "", "count"),
    Column("cost", "steps", "", "count"),
    Column("cost", "training time", "", "ratio"),
)
STEPS = COSTS[2]
_PLACES = ("ΔT", "task", "density", "cost")


def of_task(task: str) -> Column:
    """Its own ΔT."""
    name = f"task {task}" if task in (DELTA.name, TOTAL.name, TO_SINGLE.name) else task
    return Column("ΔT", name, "higher", "points")


def of_component(component: str) -> Column:
    """Its density."""
    name = f"component {component}" if component == DENSITY.name else component
    return Column("density", name, "", "percent")


def is_metric(column: Column) -> bool:
    """Whether it is one of a task."""
    return column.unit == "number"


def in_order(columns: Iterable[Column]) -> tuple[Column, ...]:
    """ΔT, the metrics task by task, densities, costs; each once."""
    known = list(dict.fromkeys(columns))
    groups = list(dict.fromkeys(column.group for column in known))
    return tuple(sorted(known, key=lambda c: (_PLACES.index(_place(c)), groups.index(c.group))))


def key(column: Column) -> str:
    """What ``--columns`` calls it: ``delta_t``, ``delta_t.seg``, ``seg.miou``, ``density``, ``density.backbone``, ``parameters``."""
    if column in (DELTA, DENSITY):
        return {DELTA: "delta_t", DENSITY: "density"}[column]
    if column in COSTS:
        return _plain(column.name)
    if column.unit == "points":
        return f"delta_t.{_plain(column.name) if column == TO_SINGLE else column.name}"
    return f"{column.group}.{column.name}"


def choose(asked: Sequence[str], known: Sequence[Column]) -> tuple[Column, ...]:
    """The columns that are asked for, in that order.

    Args:
        asked: Keys, or several with commas or spaces between them; a task or ``cost`` alone is all of it, ``delta_t.each`` and ``density.each`` are
            those of every task and component.
        known: All there are.

    Raises:
        ValueError: If there is no such column, or one is asked twice.
    """
    names = _names(known)
    made: list[Column] = []
    for name in _each(asked, names):
        found = _find(name, names)
        if not found:
            there = ", ".join(key(column) for column in known)
            raise ValueError(
                f"--columns: no column {name!r}; there are {there}.{nearest(name, [key(c) for c in known])}"
            )
        made += found
    if not made:
        raise ValueError("--columns names no column; leave it out for all.")
    for column in made:
        if made.count(column) > 1:
            raise ValueError(f"--columns has {key(column)} twice; once is enough.")
    return tuple(made)


def there(asked: Sequence[str], known: Sequence[Column]) -> tuple[Column, ...]:
    """As :func:`choose`, without what there is not yet."""
    names = _names(known)
    return tuple(dict.fromkeys(column for name in _each(asked, names) for column in _find(name, names)))


def panels(
    columns: Sequence[Column], most: float, size: Callable[[Column], float] = lambda _: 1
) -> list[list[tuple[str, list[Column]]]]:
    """Columns by group, in as many tables one below the other as it takes for none to be wider than ``most``.

    Args:
        columns: In their order.
        most: Columns, or what ``size`` counts.
        size: Of one.
    """
    made: list[list[tuple[str, list[Column]]]] = []
    room = 0.0
    for group, own in grouped(columns):
        for part in fitted(own, most, size):
            need = sum(map(size, part))
            if need > room or not made:
                made.append([])
                room = most
            made[-1].append((group, part))
            room -= need
    return made


def fitted(items: Sequence[T], most: float, size: Callable[[T], float]) -> list[list[T]]:
    """Neighbours in as few parts as it takes for none to be larger than ``most``, or than one of them."""
    made: list[list[T]] = []
    for item in items:
        if not made or sum(map(size, made[-1])) + size(item) > most:
            made.append([])
        made[-1].append(item)
    return made


def grouped(columns: Sequence[Column]) -> list[tuple[str, list[Column]]]:
    """Neighbours of one group together."""
    made: list[tuple[str, list[Column]]] = []
    for column in columns:
        if not made or made[-1][0] != column.group:
            made.append((column.group, []))
        made[-1][1].append(column)
    return made


def _place(column: Column) -> str:
    return "task" if is_metric(column) else column.group


def _plain(name: str) -> str:
    return name.casefold().replace(" ", "_").replace("-", "_")


def _names(known: Sequence[Column]) -> Mapping[str, tuple[Column, ...]]:
    """Every spelling to what it stands for; the first that has one keeps it."""
    names: dict[str, tuple[Column, ...]] = {}
    for column in known:
        names.setdefault(key(column), (column,))
    for column in known:
        names.setdefault(f"{column.group}.{column.name}", (column,))
        names.setdefault(f"{column.group} {column.name}", (column,))
    metrics = [column for column in known if is_metric(column)]
    groups = {
        task: tuple(c for c in metrics if c.group == task) for task in dict.fromkeys(c.group for c in metrics)
    }
    groups["cost"] = tuple(column for column in known if column in COSTS)
    groups["delta_t.each"] = tuple(
        c for c in known if c.unit == "points" and c not in (DELTA, TOTAL, TO_SINGLE)
    )
    groups["density.each"] = tuple(c for c in known if c.unit == "percent" and c != DENSITY)
    for name, columns in groups.items():
        if columns:
            names.setdefault(name, columns)
    return names


def _each(asked: Sequence[str], names: Mapping[str, tuple[Column, ...]]) -> list[str]:
    """The words, or the one, at their commas and spaces, but for a name that has one."""
    words = [asked] if isinstance(asked, str) else asked
    return [
        name
        for word in words
        for name in ([word] if _find(word, names) else re.split(r"\s*,\s*|\s+", word.strip()))
    ]


def _find(word: str, names: Mapping[str, tuple[Column, ...]]) -> tuple[Column, ...]:
    """By its spelling, or by one that differs in capitals, - and _ alone."""
    if word in names:
        return names[word]
    plain = _plain(word).replace("δt", "delta_t")
    return next((found for name, found in names.items() if _plain(name) == plain), ())
