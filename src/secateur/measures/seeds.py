"""What a few seeds allow to say: mean, spread, confidence interval, and whether two differ."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LEVEL = 0.95  # of confidence intervals; differences count as significant below 1 - LEVEL


@dataclass(frozen=True)
class Stat:
    """A figure over seeds.

    Args:
        mean: Over the seeds.
        sd: Standard deviation of the sample; None for one seed.
        margin: Half the width of the 95 % confidence interval of the mean (Student's t); None for one seed.
    """

    mean: float
    sd: float | None = None
    margin: float | None = None


def stat(values: Iterable[float]) -> Stat:
    """Mean, standard deviation and margin; NaN if there is no value, or one is not finite."""
    found = list(values)
    if not found or not all(map(math.isfinite, found)):
        return Stat(math.nan)
    if len(found) < 2:
        return Stat(found[0])
    from scipy.special import stdtrit

    sd = statistics.stdev(found)
    margin = float(stdtrit(len(found) - 1, (1 + LEVEL) / 2)) * sd / math.sqrt(len(found))
    return Stat(statistics.fmean(found), sd, margin)


def differs(one: Mapping[int, float], other: Mapping[int, float]) -> bool:
    """True if a paired t-test over the common seeds tells the two apart; a single seed cannot."""
    found = p_value(one, other)
    return found is not None and found < 1 - LEVEL


def p_value(one: Mapping[int, float], other: Mapping[int, float]) -> float | None:
    """Of a two-sided paired t-test over the common seeds; None for fewer than two of them, or one that is not finite."""
    pairs = [one[seed] - other[seed] for seed in one.keys() & other.keys()]
    if len(pairs) < 2 or any(not math.isfinite(d) for d in pairs):
        return None
    sd = statistics.stdev(pairs)
    if sd == 0:
        return float(pairs[0] == 0)
    from scipy.special import stdtr

    t = abs(statistics.fmean(pairs)) / sd * math.sqrt(len(pairs))
    return float(2 * stdtr(len(pairs) - 1, -t))


def corrected(found: Mapping[str, float | None]) -> dict[str, float | None]:
    """P values of several tests at once, corrected by Holm (1979) for how many they are; those that are None count for none."""
    known = sorted((value, name) for name, value in found.items() if value is not None)
    made, least = dict[str, float | None](found), 0.0
    for place, (value, name) in enumerate(known):
        least = max(least, min(1.0, (len(known) - place) * value))
        made[name] = least
    return made
