"""Numbers as text: the same figure looks the same on the page, in a plot and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable

MISSING = "n/a"
_MINUS, _NARROW, _SPACE = "\u2212", "\u202f", "\u00a0"  # no-break spaces, so that no number is split


def decimals(values: Iterable[float]) -> int:
    """Decimals that show four significant digits of the largest of ``values``: 0.5432, 5.432, 54.32."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    return 4 if largest < 1 else max(0, 3 - math.floor(math.log10(largest)))


def fixed(value: float, places: int, *, signed: bool = False) -> str:
    """``value`` with so many decimals, a true minus sign and, if ``signed``, a plus sign; NaN is "n/a"."""
    if not math.isfinite(value):
        return MISSING
    rounded = round(value, places) + 0.0  # no negative zero
    if signed and rounded == 0:
        return "±" + f"{0:.{places}f}"
    return f"{rounded:{'+' if signed else ''}.{places}f}".replace("-", _MINUS)


def spread(mean: float, deviation: float | None, places: int, *, signed: bool = False) -> str:
    """``mean ± deviation``, or the mean alone when there is no deviation."""
    text = fixed(mean, places, signed=signed)
    if deviation is None or text == MISSING:
        return text
    return f"{text}{_SPACE}±{_SPACE}{fixed(deviation, places)}"


def percent(fraction: float, places: int = 1) -> str:
    """A fraction as "10.0 %"; two more decimals below 1 %."""
    if not math.isfinite(fraction):
        return MISSING
    if 0 < fraction < 0.01:
        places += 1
    return f"{fixed(100 * fraction, places)}{_NARROW}%"


def points(value: float, deviation: float | None = None) -> str:
    """A signed percentage that is already in percent: "+0.4 %"."""
    text = spread(value, deviation, 1, signed=True)
    return text if text == MISSING else f"{text}{_NARROW}%"


def count(value: float) -> str:
    """Three significant digits with k, M, G or T: "1.21 G"."""
    if not math.isfinite(value):
        return MISSING
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit * 0.9995:
            scaled = value / limit
            places = 0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2
            return f"{fixed(scaled, places)}{_SPACE}{unit}"
    return fixed(value, 0)


def whole(value: float) -> str:
    """An integer with thin spaces between thousands: "1 234 567"."""
    return MISSING if not math.isfinite(value) else f"{round(value):,}".replace(",", _NARROW)


def duration(seconds: float) -> str:
    """The two largest units of a time: "42 s", "12 min 5 s", "3 h 20 min"."""
    if not math.isfinite(seconds):
        return MISSING
    total = round(seconds)
    hours, minutes, rest = total // 3600, total % 3600 // 60, total % 60
    parts = [(hours, "h"), (minutes, "min")] if hours else [(minutes, "min"), (rest, "s")]
    text = " ".join(f"{n}{_SPACE}{unit}" for n, unit in parts if n)
    return text or f"{seconds:.1f}{_SPACE}s"


def listing(words: Iterable[str]) -> str:
    """Words as in a sentence: "a", "a and b", "a, b and c"."""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} and {last}" if most else last
