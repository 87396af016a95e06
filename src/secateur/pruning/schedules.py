"""How settings change over training: pure functions of the progress in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from secateur.problem import check_count, is_number

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Factor 1 throughout."""
    return 1.0


def cosine(progress: float) -> float:
    """Factor from 1 to 0 along half a cosine (Loshchilov and Hutter 2017, Eq. 5)."""
    return 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def staircase(factor: float = 0.5, stairs: int = 5) -> Schedule:
    """Factor ``factor ** k`` on the k-th of ``stairs`` equal parts (AdapMTL: 0.5 every 4k of 20k steps).

    Args:
        factor: Of each stair to the one before, in (0, 1].
        stairs: How many.

    Raises:
        ValueError: If one of them is out of range.
    """
    if not is_number(factor) or not 0.0 < factor <= 1.0:
        raise ValueError(
            f"staircase: factor is {factor!r}; the learning rate falls by it at each stair, so give a number in (0, 1], such as 0.5."
        )
    check_count("staircase: stairs", stairs)

    def schedule(progress: float) -> float:
        return factor ** min(int(progress * stairs + 1e-9), stairs - 1)

    return schedule


@dataclass(frozen=True)
class WarmUp:
    """A schedule that first rises from 0 in a straight line (Goyal et al. 2017, arXiv 1706.02677, section 2.2).

    Args:
        share: Share of the steps over which the factor of ``then`` rises to its whole.
        then: The schedule, over all steps.
    """

    share: float
    then: Schedule = cosine

    def __post_init__(self) -> None:
        if not is_number(self.share) or not 0.0 < self.share < 1.0:
            raise ValueError(
                f"WarmUp: share is {self.share!r}; it is a share of the steps and lies in (0, 1)."
            )

    def __call__(self, progress: float) -> float:
        """The factor of the learning rate; the very first step has a hundredth of the rise."""
        return self.then(progress) * min(1.0, max(progress / self.share, 0.01))


def cubic_density(progress: float, density: float, start: float, end: float) -> float:
    """Density that falls from 1 at ``start`` to ``density`` at ``end``, fast at first (Zhu and Gupta 2017, Eq. 1)."""
    share = min(max((progress - start) / max(end - start, 1e-12), 0.0), 1.0)
    return density + (1.0 - density) * (1.0 - share) ** 3


def cyclic_density(
    progress: float, density: float, ramp: tuple[float, float], cycles: int | None, rebound: float | None
) -> float:
    """:func:`cubic_density`, ``cycles`` times over (Srinivas et al. 2022, CVPR-W, arXiv 2202.01290); it ends exactly at ``density``.

    Args:
        progress: In [0, 1].
        density: At the end of every cycle.
        ramp: Progress at which the first cycle begins and the last ends; all are of one length.
        cycles: How often the density falls; None is once.
        rebound: Share of what is pruned that comes back when a further cycle begins; None is 0.3, and 1 as published.
    """
    start, end = ramp
    count = cycles or 1
    if count == 1:
        return cubic_density(progress, density, start, end)
    share = min(max((progress - start) / max(end - start, 1e-12), 0.0), 1.0) * count
    number = min(int(share), count - 1)
    back = 1.0 if number == 0 else 0.3 if rebound is None else rebound
    return density + (1.0 - density) * back * (1.0 - (share - number)) ** 3


def check_cycles(cycles: int | None, rebound: float | None) -> None:
    """Raises ValueError unless there is a cycle, and a share in (0, 1] comes back between several."""
    if cycles is not None:
        check_count("cycles", cycles, remedy="the density falls at least once")
    if rebound is not None and not (0.0 < rebound <= 1.0 and (cycles or 1) > 1):
        raise ValueError(
            f"rebound is {rebound} and cycles {cycles}; give the share that comes back, in (0, 1], and at least 2 cycles."
        )


def check_density(density: float) -> float:
    """Returns ``density`` if it is a kept fraction.

    Raises:
        ValueError: If it lies outside (0, 1].
    """
    if not is_number(density) or not 0.0 < density <= 1.0:
        raise ValueError(
            f"density is {density!r}; it is the kept fraction and must lie in (0, 1]: 0.1 keeps 10 %."
        )
    return density


def check_ramp(ramp: Sequence[float]) -> None:
    """Raises ValueError unless it is two shares of the training steps, ``0 <= start < end <= 1``."""
    pair = isinstance(ramp, (tuple, list)) and len(ramp) == 2 and all(map(is_number, ramp))
    if not pair or not 0.0 <= ramp[0] < ramp[1] <= 1.0:
        raise ValueError(
            f"ramp is {ramp!r}; give two shares of the steps, (start, end), with 0 <= start < end <= 1."
        )


def geometric_density(density: float, done: int, rounds: int) -> float:
    """Density after ``done`` of ``rounds`` prunings that each leave the same share (Frankle and Carbin 2019)."""
    return density if done >= rounds else density ** (done / rounds)


def check_rounds(rounds: int) -> int:
    """Returns ``rounds`` if there is one to train in and one to train the pruned network in.

    Raises:
        ValueError: If there are fewer than 2.
    """
    remedy = "at least 2 are needed: one that shows which weights are small, one that trains the rest"
    check_count("rounds", rounds, 2, remedy)
    return rounds
