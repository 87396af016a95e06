"""Which groups of channels go: those of least worth for what their death saves, until every cost is within its limit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from secateur.budget.cost_model import CostModel
from secateur.budget.layers import families
from secateur.budget.limits import Kind
from secateur.problem import Call, Input
from secateur.pruning import Groups
from secateur.shrinking import compact, copied, fewest

_SWEEP = 0.01  # share of what is over, taken with the same savings before they are counted anew
_LEAST = 1e-12
_BACK = 32  # units that went last, and may come back where there is room


class OutOfReachError(ValueError):
    """Limits that no choice keeps, as costs are predicted.

    Args:
        message: What is lacking.
        smallest: (count,) bool, the choice that comes nearest: :func:`smallest`.
    """

    def __init__(self, message: str, smallest: Tensor) -> None:
        super().__init__(message)
        self.smallest = smallest


def choose(
    groups: Groups, alive: Tensor, worth: Tensor, costs: CostModel, limits: Mapping[Kind, float]
) -> Tensor:
    """The groups that are left, (count,) bool: a greedy knapsack of worth against cost (HALP, arXiv 2110.10811, §3.3).

    Like is taken with like: groups that lie in the same layers go in steps of the channel count that the engine likes, the
    least worth first, so that what is left is a multiple of it. Each layer keeps a channel, or a step of them. What went last comes
    back where there is room for it, most worth first.

    Args:
        groups: The partition.
        alive: (count,) bool, what is left before; what is dead stays dead.
        worth: (count,).
        costs: Predicted.
        limits: Kind to the most that it may be.

    Raises:
        OutOfReachError: If a cost stays above its limit when all that can go is gone.
    """
    present, alive, unit = alive, alive.clone(), _units(groups, alive, worth, costs.step)
    count = int(unit.max()) + 1
    least = smallest(groups, alive, worth, costs.step)
    held = least | _whole(groups.strongest(torch.where(alive, worth, -torch.ones_like(worth))) & alive, unit)
    value = torch.zeros(count, dtype=torch.float64).index_add_(0, unit[alive], worth[alive])
    gone: list[int] = []
    while True:
        now = costs(alive)
        kind = max(limits, key=lambda one: now[one] / limits[one])
        over = now[kind] - limits[kind]
        if over <= 0:
            return _filled(alive, present, unit, value, gone[-_BACK:], costs, limits)
        mortal = alive & ~held
        saving = torch.zeros(count, dtype=torch.float64)
        saving.index_add_(0, unit[mortal], costs.savings(alive, kind)[mortal])
        useful = saving > _LEAST * now[kind]
        if not bool(useful.any()):
            if not torch.equal(held, least):  # what is worth most in each layer goes too, where less does
                held = least
                continue
            raise OutOfReachError(
                f"no choice has {limits[kind]:.4g} {kind}: {now[kind]:.4g} are predicted where each layer keeps a channel.",
                least,
            )
        rate = torch.where(useful, value / saving.clamp(min=_LEAST), torch.inf)
        order = rate.argsort(stable=True)[: int(useful.sum())]
        sweep = max(_SWEEP * now[kind], 0.25 * over)
        taken = int((saving[order].cumsum(0) < min(sweep, over)).sum()) + 1
        last = order[:taken]
        enough = order[saving[order] >= over]  # each of these alone would do
        if len(enough) and float(value[last].sum()) > float(value[enough].min()):
            last = enough[value[enough].argmin()]
        going = torch.zeros(count, dtype=torch.bool)
        going[last] = True
        gone += last.reshape(-1).tolist()
        alive &= ~(going[unit] & mortal)


def nearest_choice(
    groups: Groups, alive: Tensor, worth: Tensor, costs: CostModel, limits: Mapping[Kind, float]
) -> Tensor:
    """As :func:`choose`; the smallest choice where none is predicted to keep the limits, for measured it may."""
    try:
        return choose(groups, alive, worth, costs, limits)
    except OutOfReachError as error:
        return error.smallest


@torch.no_grad()
def zero_dead(model: nn.Module, groups: Groups, alive: Tensor) -> None:
    """Zeros, in ``model``, all that belongs to groups that are not ``alive``, (count,) bool."""
    weights = {name: p for name, p in model.named_parameters() if name in groups.axis}
    for name, mask in groups.masks(alive, weights).items():
        weights[name].mul_(mask.to(weights[name]))


def made_small(
    model: nn.Module, example: Input, call: Call | None, groups: Groups, alive: Tensor
) -> nn.Module:
    """A copy of ``model`` without the groups that are not ``alive``, (count,) bool, by :func:`secateur.compact`."""
    dense = copied(model)
    zero_dead(dense, groups, alive)
    return compact(dense, example, call=call)


def smallest(groups: Groups, alive: Tensor, worth: Tensor, step: int = 1) -> Tensor:
    """What is left when all goes that :func:`choose` may take, (count,) bool: a channel of each layer, or a step of them.

    Args:
        groups: The partition.
        alive: (count,) bool, what is left before.
        worth: (count,).
        step: Channels that go together, as the engine likes them.
    """
    kept = fewest(groups, alive, worth)
    return _whole(kept, _units(groups, alive, worth, step)) & alive


def _whole(kept: Tensor, unit: Tensor) -> Tensor:
    """All of the units of which something is ``kept``, (count,) bool."""
    held = torch.zeros(int(unit.max()) + 1, dtype=torch.bool)
    held[unit[kept]] = True
    return held[unit]


def _filled(
    alive: Tensor,
    present: Tensor,
    unit: Tensor,
    value: Tensor,
    gone: list[int],
    costs: CostModel,
    limits: Mapping[Kind, float],
) -> Tensor:
    """With those units of ``gone`` that fit."""
    for one in sorted(gone, key=lambda number: -float(value[number])):
        tried = alive | ((unit == one) & present)
        if all(cost <= limits[kind] for kind, cost in costs(tried).items()):
            alive = tried
    return alive


def _units(groups: Groups, alive: Tensor, worth: Tensor, step: int) -> Tensor:
    """The unit that each group goes with, (count,): ``step`` living groups of a family, successive in worth."""
    if step <= 1:
        return torch.arange(groups.count)
    family = families(groups)
    unit, number = torch.zeros(groups.count, dtype=torch.int64), 0
    for one in range(int(family.max()) + 1):
        members = torch.nonzero((family == one) & alive).flatten()
        if not len(members):
            continue
        size = step if len(members) > step else 1  # narrow layers go one by one
        order = members[worth[members].argsort(stable=True)]
        first = len(members) % size
        place = (torch.arange(len(members)) - first).div(size, rounding_mode="floor")
        unit[order] = place - int(place.min()) + number
        number = int(unit[order].max()) + 1
    unit[~alive] = number  # of no meaning: they are gone
    return unit
