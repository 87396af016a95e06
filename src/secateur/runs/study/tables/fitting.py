"""How tables of LaTeX fit on a page: columns in parts one below the other, in the larger of two sizes of letters that does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import TypeVar

P = TypeVar("P")
_ROOM = 345.0  # points, as wide as LaTeX's article and LNCS set their text
_DIGIT, _THIN, _BROAD = 4.75, 2.9, 7.2  # points of a character in \small
_THINNER, _BROADER = frozenset(" \N{NARROW NO-BREAK SPACE}.,:;'|!il"), frozenset("±\N{MINUS SIGN}×%mwMW")
_BETWEEN = 8.0  # points between two columns
_BOLD = 1.16  # how much wider bold ones are
_SMALLER = 0.92  # \footnotesize of \small
_SIZES = r"\small\setlength{\tabcolsep}{4pt}", r"\footnotesize\setlength{\tabcolsep}{3.6pt}"


def wide(plain: str, mark: str = "") -> float:
    """Points that a cell takes in ``\\small``, about, with the space that parts it from its neighbours."""
    points = sum(_THIN if c in _THINNER else _BROAD if c in _BROADER else _DIGIT for c in plain)
    return points * (_BOLD if mark == "best" else 1.0) + _BETWEEN


def on_a_page(
    names: float, split: Callable[[float], list[P]], sizes: Callable[[P], Sequence[float]]
) -> tuple[str, list[P]]:
    """What sets the size of the letters, and the parts of a table: one where there is room.

    Args:
        names: Points of the first column, which stands in every part.
        split: From points to parts of which none is wider.
        sizes: Points of each column of a part. Those of all parts stand below each other, and are as wide as the widest.
    """
    parts = _parts(_ROOM, names, split, sizes)
    if len(parts) < 2:
        return _SIZES[0], parts
    return _SIZES[1], _parts(_ROOM / _SMALLER, names, split, sizes)


def _parts(
    room: float, names: float, split: Callable[[float], list[P]], sizes: Callable[[P], Sequence[float]]
) -> list[P]:
    most = room - names
    while True:
        parts = split(most)
        columns = zip_longest(*map(sizes, parts), fillvalue=0.0)
        if names + sum(map(max, columns)) <= room or all(len(sizes(part)) < 2 for part in parts):
            return parts
        most *= 0.95
