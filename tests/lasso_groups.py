"""The groups of the small problem's shared convolutions, and what is left of them."""

from __future__ import annotations

from torch import Tensor

from secateur.measures.cost import count_macs
from secateur.problem.problem import Problem
from secateur.pruning.groups import Groups, input_groups
from secateur.pruning.selection import share

SHARED = ("trunk.0.weight", "trunk.4.weight")


def shared(problem: Problem) -> dict[str, Tensor]:
    return {n: p.detach() for n, p in problem.model.named_parameters() if n in SHARED}


def kept(problem: Problem, of: str, groups: Groups | None = None) -> tuple[float, float]:
    """The share left of ``of``, and the most that one group takes."""
    groups = groups or input_groups(problem)
    named = {n: p.detach() for n, p in problem.model.named_parameters() if n in groups.axis}
    alive = groups.norms(named) > 0
    if of == "channels":
        return float(alive.double().mean()), 1 / groups.count
    macs = count_macs(problem.model, next(iter(problem.train))[0])
    costs = {n: float(p.numel() if of == "parameters" else macs[n]) for n, p in named.items()}
    largest = max(costs[n] / named[n].shape[groups.axis[n]] for n in costs) / sum(costs.values())
    return share(groups.kept_fraction(alive), costs), largest
