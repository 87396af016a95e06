"""The largest choice whose costs keep the limits as measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from secateur.budget.cost_model import CostModel
from secateur.budget.limits import TOLERANCE, Kind, listed, over
from secateur.budget.record import BudgetError

_TRIES = 10  # networks that are measured at most
_AGAIN = 3  # times that a round before the last is chosen anew
T = TypeVar("T")


@dataclass(frozen=True)
class Nearest(Generic[T]):
    """What was found.

    Args:
        made: What was measured.
        alive: (count,) bool, the groups that it has.
        costs: Its own, measured.
        predicted: What was predicted of the first network that was tried, and ``first`` what it then cost.
        why: Why nothing nearer to the limits was had; empty where it is within 5 % or nothing had to go.
    """

    made: T
    alive: Tensor
    costs: dict[Kind, float]
    predicted: dict[Kind, float]
    first: dict[Kind, float]
    why: str


def nearest(
    choose: Callable[[Mapping[Kind, float]], Tensor],
    measure: Callable[[Tensor], tuple[T, dict[Kind, float]]],
    costs: CostModel,
    limits: Mapping[Kind, float],
    present: Tensor,
    dense: Tensor,
) -> Nearest[T]:
    """Chooses, measures, corrects the prediction by that and chooses anew; of what keeps the limits the nearest to them is kept.

    Where a correction leads back to a choice that is known, the next is aimed between the nearest that fits and the nearest
    that does not. It ends within 5 % of a limit, or where nothing lies between.

    Args:
        choose: Limits to what is left, (count,) bool; the smallest where none is predicted to keep them.
        measure: What is left to a network and its costs.
        costs: Predicted; corrected in place.
        limits: Kind to the most that it may be.
        present: (count,) bool, what is left before.
        dense: (count,) bool, what there was before anything went.

    Raises:
        BudgetError: If nothing that was tried keeps the limits.
    """
    fits: tuple[T, Tensor, dict[Kind, float]] | None = None
    exceeds: tuple[Tensor, dict[Kind, float]] | None = None
    predicted: dict[Kind, float] = {}
    first: dict[Kind, float] = {}
    found: dict[Kind, float] = {}
    tried: list[Tensor] = []
    for _ in range(_TRIES):
        alive = _next(choose, limits, costs, tried, fits and fits[1], exceeds and exceeds[0])
        if alive is None:
            break
        tried.append(alive)
        expected = costs(alive)
        made, found = measure(alive)
        if not first:
            predicted, first = expected, found
        if over(limits, found):
            if exceeds is None or _ratio(limits, found) < _ratio(limits, exceeds[1]):
                exceeds = alive, found
        elif fits is None or (_apart(limits, found), fits[1].sum()) < (_apart(limits, fits[2]), alive.sum()):
            fits = made, alive, found
        if fits is not None and (_apart(limits, fits[2]) <= TOLERANCE or torch.equal(fits[1], present)):
            break
        costs.correct(alive, found)
    if fits is None:
        raise BudgetError(_exceeded(limits, exceeds[1] if exceeds else found))
    why = _why(limits, fits[2], exceeds and exceeds[1], fits[1], present, dense)
    return Nearest(*fits, predicted, first, why)


def not_below(
    choose: Callable[[Mapping[Kind, float]], Tensor],
    count: Callable[[Tensor], dict[Kind, float]],
    costs: CostModel,
    limits: Mapping[Kind, float],
    present: Tensor,
) -> Tensor:
    """A choice, (count,) bool, of a round before the last: no more than 5 % below the limits as counted, where another is to be had.

    Args:
        choose: As of :func:`nearest`.
        count: What is left to those costs that are counted.
        costs: Predicted; corrected in place.
        limits: Kind to the most that it may be.
        present: (count,) bool, what is left before.
    """
    tried = [choose(limits)]
    while len(tried) <= _AGAIN and not torch.equal(tried[-1], present):
        found = count(tried[-1])
        if max(found[kind] / limits[kind] for kind in found) >= 1 - TOLERANCE:
            break
        costs.correct(tried[-1], found)
        tried.append(choose(limits))
        if torch.equal(tried[-1], tried[-2]):
            break
    return tried[-1]


def _next(
    choose: Callable[[Mapping[Kind, float]], Tensor],
    limits: Mapping[Kind, float],
    costs: CostModel,
    tried: list[Tensor],
    fits: Tensor | None,
    exceeds: Tensor | None,
) -> Tensor | None:
    """A choice that is not known yet; None if there is none."""
    aims = [limits]
    if fits is not None and exceeds is not None:
        low, high = costs(fits), costs(exceeds)
        aims.append({kind: max(math.sqrt(low[kind] * high[kind]), low[kind]) for kind in limits})
    for aim in aims:
        alive = choose(aim)
        if not any(torch.equal(alive, one) for one in tried):
            return alive
    return None


def _ratio(limits: Mapping[Kind, float], found: Mapping[Kind, float]) -> float:
    return max(found[kind] / limit for kind, limit in limits.items())


def _apart(limits: Mapping[Kind, float], found: Mapping[Kind, float]) -> float:
    """How far the cost that is nearest to its limit is from it, as a share."""
    return abs(1 - _ratio(limits, found))


def _why(
    limits: Mapping[Kind, float],
    found: Mapping[Kind, float],
    larger: Mapping[Kind, float] | None,
    alive: Tensor,
    present: Tensor,
    dense: Tensor,
) -> str:
    if _apart(limits, found) <= TOLERANCE or torch.equal(alive, dense):
        return ""
    if torch.equal(alive, present):
        next_one = "so much went in the rounds, or for the networks, before; give fewer rounds"
    elif larger is None:
        next_one = "no choice between it and a larger one that fits was found"
    else:
        next_one = f"the next larger network that was tried has {listed(larger)}"
    return f"{listed(found)} where {listed(limits)} may be: {next_one}."


def _exceeded(limits: Mapping[Kind, float], found: Mapping[Kind, float]) -> str:
    """What was not met, and how near it came."""
    exceeded = over(limits, found)
    said = ", ".join(f"{found[kind]:.4g} {kind} against {limits[kind]:.4g}" for kind in exceeded)
    rest = "other programs may have been running, or ask for a little less time." if "ms" in exceeded else ""
    most = listed({kind: found[kind] for kind in exceeded if kind != "ms"})
    rest = rest or f"nothing smaller was found that keeps a channel of every layer; {most} can be had."
    return f"prune: the budget is not met: {said}, measured: {rest}"
