"""How a budget was met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from torch import nn

from secateur.budget.limits import Kind, listed
from secateur.deployment.export import Quantize

_RECORD = "_secateur_budget"


class BudgetError(ValueError):
    """A budget that could not be met; says how near it came and what stood in the way.

    ``networks`` are those of looser budgets that :func:`secateur.budget.prune_family` had finished before.
    """

    networks: Sequence[nn.Module] = ()


def floors_broken(
    said: str, tried: str, stage: Mapping[Kind, float], held: Mapping[Kind, float]
) -> BudgetError:
    """That floors broke at the costs ``stage``, what was tried, and at which costs they ``held``."""
    return BudgetError(
        f"prune: on the way to the budget {said} at {listed(stage)}, {tried}; the floors held at about {listed(held)}. "
        "Give more steps, a looser budget or lower floors."
    )


@dataclass
class Record:
    """How a budget was met.

    Args:
        asked: The limits in words.
        limits: Kind to the most that it may be.
        dense: What the dense network costs, measured.
        predicted: What was predicted of the network that was chosen first, and ``first`` what it then cost.
        costs: What the network costs, measured.
        lost: Task to the share of its metrics that it lost on the validation split, below zero where it gained; without what has no
            validation data or metric, a metric that does not say whether more is better, or of which no share can be taken. Of a network in int8 as its file is judged.
        left: Groups of channels after each round.
        short: Why the network is more than 5 % below its budget; empty where it is not.
        noise: Task with a floor to the most that the dense network itself lost when it was trained on for a little.
        quantize: ``int8``, or None.
        keep_float: Tasks whose heads stay in float in the file: ``export(small, ..., keep_float=record.keep_float)``.
        errors: Task to the largest error that int8 makes, of its largest value.
    """

    asked: str
    limits: dict[Kind, float]
    dense: dict[Kind, float]
    predicted: dict[Kind, float] = field(default_factory=dict[Kind, float])
    first: dict[Kind, float] = field(default_factory=dict[Kind, float])
    costs: dict[Kind, float] = field(default_factory=dict[Kind, float])
    lost: dict[str, float] = field(default_factory=dict[str, float])
    left: list[int] = field(default_factory=list[int])
    short: str = ""
    noise: dict[str, float] = field(default_factory=dict[str, float])
    quantize: Quantize | None = None
    keep_float: list[str] = field(default_factory=list[str])
    errors: dict[str, float] = field(default_factory=dict[str, float])


def record_of(small: nn.Module) -> Record | None:
    """How the budget of a network that :func:`secateur.prune` made was met; None of any other."""
    return cast("Record | None", getattr(small, _RECORD, None))


def attach_record(small: nn.Module, record: Record) -> None:
    """Lets the network carry its record."""
    setattr(small, _RECORD, record)
