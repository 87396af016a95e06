"""Floors: the sparsest network that costs no task more than it may."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from secateur.measures import delta_t, evaluate, higher_is_better
from secateur.problem import Problem, RemediedError, check_count, is_number
from secateur.pruning import DensityError, Sparsifier, check_density
from secateur.storage import network_state, put_back

Results = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Attempt:
    """One training under floors.

    Args:
        density: That was asked for.
        lost: Task to the share that it lost against the reference on the validation split, below zero where it gained.
        stopped_by: Tasks that lost more than they may; none if the attempt is good.
        unreachable: Why the method cannot have this density, which was then not trained; empty if it can.
    """

    density: float
    lost: dict[str, float]
    stopped_by: tuple[str, ...]
    unreachable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        found = {"density": self.density, "lost": self.lost, "stopped_by": list(self.stopped_by)}
        return found | ({"unreachable": self.unreachable} if self.unreachable else {})


class _Training(Protocol):
    """What a training returns: room for the attempts."""

    attempts: list[Attempt]
    seconds: float


T = TypeVar("T", bound=_Training)


def within_floors(
    train: Callable[[Sparsifier, Path | None], T],
    problem: Problem,
    method: Sparsifier,
    floors: Mapping[str, float],
    reference: Results | None,
    checkpoint: Path | None,
    tries: int,
) -> T:
    """Trains to the density that ``method`` asks for, and backs off to higher ones until no floor is broken.

    After a broken floor the density is searched between it and 1, by halving on a logarithmic scale; every attempt
    trains from the same network, extra states and all. The search ends early at a density that the method cannot have, such as one above half
    under 2:4. The model ends as the sparsest attempt that is good, or dense.

    Args:
        train: Trains the problem's model from its present weights.
        problem: With validation data.
        method: With an attribute ``density``.
        floors: Task to the share of its metrics that it may lose at most: 0.02 is 2 % (ΔT of the task of at least -2).
        reference: Metrics of a dense network on the validation split; None trains one first.
        checkpoint: Each attempt has its own file beside it.
        tries: Attempts at most, the first included.

    Raises:
        ValueError: If there is no such task, no validation data, no metric, or nothing to back off from.
    """
    check_floors(problem, method, floors, tries)
    model = problem.model
    initial = network_state(model)
    dense: T | None = None

    def run(made: Sparsifier, name: str) -> T:
        put_back(model, initial)
        return train(
            made,
            None
            if checkpoint is None
            else checkpoint.with_name(f"{checkpoint.stem}-{name}{checkpoint.suffix}"),
        )

    best: tuple[T, dict[str, Any]] | None = None
    if reference is None:
        dense = run(Sparsifier(), "dense")
        reference = evaluate(problem, "val")
        best = dense, network_state(model)
    attempts: list[Attempt] = []
    density: float = method.__dict__["density"]
    good: float = 1.0
    bad: float | None = None
    seconds = dense.seconds if dense else 0.0
    for number in range(tries):
        attempted = deepcopy(method)
        attempted.__dict__["density"] = density
        try:
            history = run(attempted, f"try{number}")
        except DensityError as error:
            if not number:  # what was asked for
                raise
            attempts.append(Attempt(density, {}, (), str(error)))
            break
        seconds += history.seconds
        lost = shares_lost(evaluate(problem, "val"), reference, problem)
        attempt = Attempt(density, lost, tuple(t for t, most in floors.items() if not lost[t] <= most))
        attempts.append(attempt)
        if not attempt.stopped_by:
            good, best = density, (history, network_state(model))
        if attempt.stopped_by:
            bad = density
        elif bad is None:  # what was asked for
            break
        density = math.sqrt(bad * good)
    if best is None:  # no attempt is good and the reference was given: dense it is
        dense = run(Sparsifier(), "dense")
        seconds += dense.seconds
        best = dense, network_state(model)
    put_back(model, best[1])
    best[0].attempts, best[0].seconds = attempts, seconds  # what it took, not what the best of them took
    return best[0]


def shares_lost(results: Results, reference: Results, problem: Problem) -> dict[str, float]:
    """Task to the mean share that its metrics are worse than the reference's; nan where that has no meaning."""
    better = higher_is_better(problem.tasks)
    lost: dict[str, float] = {}
    for task in results:
        mine, other = {task: results[task]}, {task: reference.get(task, {})}
        usable = bool(mine[task]) and all(other[task].get(metric) for metric in mine[task])
        lost[task] = -delta_t(mine, other, {task: better[task]}).overall / 100 if usable else math.nan
    return lost


def check_floors(problem: Problem, method: Sparsifier, floors: Mapping[str, float], tries: int) -> None:
    """Raises ValueError if there is no such task, no validation data, no metric, or nothing to back off from."""
    check_count("tries", tries, remedy="at least 1 training is needed")
    check_allowed(problem, floors)
    density = getattr(method, "density", None)
    if not isinstance(density, float) or check_density(density) == 1.0:
        raise ValueError(
            f"floors need a method with a density below 1 to back off from; {type(method).__name__} has {density}."
        )


def check_allowed(problem: Problem, floors: Mapping[str, float]) -> None:
    """Raises ValueError if there is no such task, no validation data, or no metric to judge by."""
    unknown = sorted(set(floors) - set(problem.tasks))
    if unknown or not floors:
        raise ValueError(
            f"floors names {unknown or 'no task'}; the problem's tasks are {sorted(problem.tasks)}."
        )
    for task, share in floors.items():
        if not is_number(share) or not 0.0 <= share < 1.0:
            raise ValueError(
                f"floors[{task!r}] is {share!r}; it is a share of the metrics and lies in [0, 1): 0.02 is 2 %."
            )
        if not problem.tasks[task].metrics:
            raise ValueError(f"floors names {task!r}, which has no metric; give its Task one.")
    higher_is_better({task: problem.tasks[task] for task in floors})
    if problem.val is None:
        raise RemediedError(
            "floors are checked on validation data, and the problem has none;",
            "give Problem(..., val=...).",
            "give data that have val, or leave --floors out.",
        )
