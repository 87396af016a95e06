"""What can be refused before anything is measured or trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, get_args

from secateur.budget.limits import Budget
from secateur.budget.worth import Score
from secateur.problem import Problem
from secateur.pruning import check_done
from secateur.training import check_allowed, shares_lost

_COUNTS = {"steps": 0, "rounds": 1, "batches": 1, "repair": 0}  # and the least of each


def check(problem: Problem, budgets: Sequence[Budget], options: Mapping[str, Any]) -> None:
    """Raises ValueError for what is unusable whatever the network costs.

    Args:
        problem: To prune.
        budgets: Of the run.
        options: As of :class:`secateur.budget.prune.Options`.
    """
    check_done(problem.model, "prune")
    if isinstance(budgets, Budget) or not all(isinstance(budget, Budget) for budget in budgets):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(
            f"prune: {budgets!r} is given as budgets; give secateur.Budget(macs=0.5) or the like."
        )
    if not budgets:
        raise ValueError("prune: budgets is empty; give at least one.")
    for name, least in _COUNTS.items():
        given = options.get(name, least)
        if isinstance(given, bool) or not isinstance(given, int) or given < least:
            raise ValueError(f"prune: {name} is {given!r}; give a whole number of at least {least}.")
    if options.get("score", "taylor") not in get_args(Score):
        raise ValueError(
            f"prune: there is no score {options['score']!r}; give one of {', '.join(get_args(Score))}."
        )
    for first, second in pairwise(budgets):
        if first.kinds != second.kinds or (first.engine, first.threads) != (second.engine, second.threads):
            raise ValueError(f"prune: budgets limit {first} and {second}; limit the same in one run.")
    if options.get("floors") is not None:
        check_allowed(problem, options["floors"])


def check_reference(
    problem: Problem, reference: Mapping[str, Mapping[str, float]] | None, floors: Mapping[str, float]
) -> None:
    """Raises ValueError if a task with a floor has a metric of which no share can be taken: a floor is held or refused."""
    lost = shares_lost(reference, reference, problem) if reference else {}
    for task in floors:
        if lost.get(task) != 0.0:
            found = {} if reference is None else dict(reference.get(task, {}))
            raise ValueError(
                f"prune: floors names {task!r}, and the trained network has {found or 'no value'} on the validation split, of which no "
                "share can be lost; look at its labels and metrics, or leave its floor out."
            )
