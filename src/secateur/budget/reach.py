"""Whether any network of this shape can meet a budget: the smallest is made and measured, before anything is trained.

What it takes is known then, too: time that no layer's channels shorten is most of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from secateur.budget.choose import made_small, smallest
from secateur.budget.cost_model import CostModel
from secateur.budget.limits import TOLERANCE, Kind, over
from secateur.budget.record import BudgetError
from secateur.problem import Call, Input
from secateur.pruning import Groups

_NAMED = 3  # layers, and reasons
_MEASURED: tuple[Kind, ...] = ("ms", "mb")  # the others are counted


@torch.no_grad()
def check_reach(
    model: nn.Module,
    example: Input,
    call: Call | None,
    groups: Groups,
    alive: Tensor,
    costs: CostModel,
    measure: Callable[[nn.Module], Mapping[Kind, float]],
    limits: Sequence[Mapping[Kind, float]],
) -> bool:
    """Raises BudgetError, with what the smallest network costs and which layers keep it so large, where it exceeds one of ``limits``.

    Else ``costs`` learns what it takes beyond what is predicted, and it is said whether what is counted is as predicted.

    Args:
        model: The network; a copy of it is made small.
        example: What it takes.
        call: How the model is called, as in a :class:`secateur.Problem`.
        groups: Its coupled groups.
        alive: (count,) bool, what is left of them.
        costs: Predicted, for the shares of the layers; corrected.
        measure: A network to its costs.
        limits: Kind to the most that it may be, of each network that is asked for.
    """
    left = smallest(groups, alive, torch.ones(groups.count, dtype=torch.float64), costs.step)
    with warnings.catch_warnings(action="ignore"):  # nobody will use it
        found = measure(made_small(model, example, call, groups, left))
    for asked in limits:
        for kind in over(asked, found):
            raise BudgetError(
                f"prune: the budget cannot be met: the smallest network that prune makes of this shape has {_amount(found[kind], kind)}, and "
                f"{_amount(asked[kind], kind)} are asked. {what_stays(costs, groups, left, kind)}"
            )
    costs.begin(left, {kind: cost for kind, cost in found.items() if kind in _MEASURED})
    predicted = costs(left)
    return not any(
        abs(1 - found[kind] / predicted[kind]) > TOLERANCE for kind in found if kind not in _MEASURED
    )


def what_stays(costs: CostModel, groups: Groups, alive: Tensor, kind: Kind) -> str:
    """The layers that take most of a cost when ``alive``, (count,) bool, groups are left, and why they do not get smaller."""
    by_layer = costs.by_layer(alive, kind)
    whole = float(by_layer.sum())
    told = [
        f"{costs.layers[place].weight} ({float(by_layer[place]) / whole:.0%}) keeps {_kept(costs, place, alive)}"
        for place in by_layer.argsort(descending=True, stable=True)[:_NAMED].tolist()
        if by_layer[place] > 0
    ]
    said = f"Every layer keeps a channel; of what is left {'; '.join(told)}."
    if "together" in said:
        said += " Channels live and die together where a normalisation or a reshape takes them as one block; of a convolution in groups whole groups, or the same channels of every group."
    pins = sorted(groups.pins.items(), key=lambda item: -item[1])[:_NAMED]
    if pins:
        said += f" Some stay: {'; '.join(f'{reason} ({count} channels)' for reason, count in pins)}."
    return said


def _kept(costs: CostModel, place: int, alive: Tensor) -> str:
    inputs, outputs = costs.widths.places(place)
    layer, said = costs.layers[place], list[str]()
    for what, ids, size in (("inputs", inputs, layer.inputs), ("outputs", outputs, layer.outputs)):
        if ids is None or bool((ids < 0).all()):
            said.append(f"all {size} {what}")
            continue
        each = size // len(ids)
        here = ids[ids >= 0]
        living = here[alive[here]]
        largest = int(torch.bincount(living).max()) * each if len(living) else 0
        kept = (len(living) + int((ids < 0).sum())) * each
        said.append(f"{kept} of {size} {what}{f' ({largest} live and die together)' if largest > 1 else ''}")
    return " and ".join(said)


def _amount(value: float, kind: Kind) -> str:
    """Parameters and multiply-accumulates are counted; the rest is measured."""
    return f"{value:,.0f} {kind}" if kind in ("params", "macs") else f"{value:.4g} {kind}"
