"""The rounds of :func:`secateur.budget.prune`: score, choose, train on; measured at the end."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from secateur.budget.checks import check_reference
from secateur.budget.choose import OutOfReachError, choose
from secateur.budget.costs import Costs, has_table
from secateur.budget.latency import Latency
from secateur.budget.limits import NEAR, Budget, Kind, over
from secateur.budget.measured import measured
from secateur.budget.record import BudgetError, Record, attach_record
from secateur.budget.repair import repair as repaired
from secateur.budget.worth import Score, joined, task_worth
from secateur.deployment.bench import LayerEngine
from secateur.measures import evaluate
from secateur.methods import KeepZeros
from secateur.problem import Input, Problem, example, one, preserved_rng
from secateur.shrinking import compact, problem_groups
from secateur.training import MakeOptimizer, fit, shares_lost
from secateur.weighting import Weighting

_CORRECTIONS, _AGAIN = 8, 3  # of a predicted cost; times that a round which broke a floor is chosen anew
_LAST = 0.5  # share of the steps that a network is trained for once it is small


class Rounds:
    """One run: a copy of the model whose dead channels are zero, and what is known of it.

    Args:
        problem: Trained; left as it was.
        budget: Says what is limited and in which engine.
        Others: As of :class:`secateur.budget.prune.Options`.
    """

    def __init__(
        self,
        problem: Problem,
        budget: Budget,
        *,
        floors: Mapping[str, float] | None = None,
        steps: int = 2000,
        rounds: int = 4,
        score: Score = "taylor",
        batches: int = 16,
        repair: int = 8,
        weighting: Weighting | None = None,
        optimizer: MakeOptimizer | None = None,
        seed: int = 0,
        on: Input | None = None,
        progress: bool = True,
    ) -> None:
        self.original, self.budget = problem, budget
        self.problem = replace(problem, model=copy.deepcopy(problem.model))
        self.floors, self.steps, self.rounds = floors, steps, rounds if steps else 1
        self.score: Score = score
        self.batches, self.repair = batches, repair
        self.training: dict[str, Any] = {"optimizer": optimizer, "seed": seed, "progress": progress}
        self.weighting = weighting
        self.example = one(example(problem)) if on is None else on
        self.groups = problem_groups(self.problem)
        weights = dict(self.problem.model.named_parameters())
        self.alive = self.groups.norms({name: weights[name].detach() for name in self.groups.axis}) > 0
        self.dense = measured(problem.model, self.example, budget, problem.call)
        table = "ms" in budget.kinds and has_table(budget.engine)
        latency = Latency(cast(LayerEngine, budget.engine), budget.threads) if table else None
        self.costs = Costs(
            self.problem.model, self.example, self.groups, budget, self.dense, latency, problem.call
        )
        self.reference = None if floors is None else evaluate(problem, "val")
        check_reference(problem, self.reference, floors or {})
        self.weight = dict.fromkeys(problem.tasks, 1.0)

    def check(self, budgets: Sequence[Budget]) -> None:
        """Raises before anything is trained: ValueError if a budget is looser than the one before, BudgetError if none can meet it."""
        limits = [budget.absolute(self.dense) for budget in budgets]
        for (first, above), (second, below) in pairwise(zip(budgets, limits, strict=True)):
            if any(below[kind] > above[kind] for kind in below):
                raise ValueError(f"prune: {second} is looser than {first} before it; give the loosest first.")
        for asked in limits:
            self._chosen(torch.ones(self.groups.count, dtype=torch.float64), asked)

    def to(self, budget: Budget) -> nn.Module:
        """The network that keeps ``budget``; later ones go on from here.

        Raises:
            BudgetError: If it cannot be had.
        """
        limits = budget.absolute(self.dense)
        record = Record(str(budget), limits, self.dense)
        now = self.costs(self.alive)
        small: nn.Module | None = None
        for number in range(1, self.rounds + 1):
            part = number / self.rounds
            stage: dict[Kind, float] = {
                kind: now[kind] * min(1.0, limit / now[kind]) ** part for kind, limit in limits.items()
            }
            small = self._kept_floors(stage, limits if number == self.rounds else None, record)
            record.left.append(int(self.alive.sum()))
        assert small is not None
        attach_record(small, record)
        return small

    def _kept_floors(
        self, stage: dict[Kind, float], limits: Mapping[Kind, float] | None, record: Record
    ) -> nn.Module | None:
        """A round; where it breaks a floor it is chosen anew with the worth of that task doubled."""
        for _ in range(_AGAIN + 1):
            small, record.lost = self._round(stage, limits, record)
            floors = self.floors or {}
            broken = {task: lost for task, lost in record.lost.items() if lost > floors.get(task, torch.inf)}
            if not broken:
                return small
            for task in broken:
                self.weight[task] *= 2.0
        raise BudgetError(self._broken(broken, stage))  # pyright: ignore[reportPossiblyUnboundVariable]

    def _round(
        self, stage: Mapping[Kind, float], limits: Mapping[Kind, float] | None, record: Record
    ) -> tuple[nn.Module | None, dict[str, float]]:
        """Scores, chooses and trains on; where a floor is broken the model is as it was before.

        Args:
            stage: What costs may be after it.
            limits: In the last round, which is measured and made small.
        """
        before = (copy.deepcopy(self.problem.model.state_dict()), self.alive)
        scores = task_worth(self.problem, self.groups, self.score, self.batches, self.training["seed"])
        worth = joined(scores, self.floors, self.weight)
        small: nn.Module | None = None
        if limits is None:
            self._kill(self._chosen(worth, stage))
            self._train(self.problem, round(self.steps * (1 - _LAST) / max(1, self.rounds - 1)))
            lost = self._lost(self.problem)
        else:
            small = self._met(worth, limits, record)
            if self.steps:
                self._train(
                    replace(self.problem, model=small),
                    round(self.steps * (_LAST if self.rounds > 1 else 1.0)),
                )
            elif self.repair:
                repaired(self.original, small, self.repair)
            lost = self._lost(replace(self.problem, model=small))
        if any(lost.get(task, 0.0) > floor for task, floor in (self.floors or {}).items()):
            self.problem.model.load_state_dict(before[0])
            self.alive = before[1]
        return small, lost

    def _met(self, worth: Tensor, limits: Mapping[Kind, float], record: Record) -> nn.Module:
        """The small network whose measured costs keep the limits, one of them nearly; not trained yet."""
        state, alive = copy.deepcopy(self.problem.model.state_dict()), self.alive
        best: tuple[nn.Module, Tensor] | None = None
        found: dict[Kind, float] = {}
        tried: list[Tensor] = []
        for number in range(_CORRECTIONS):
            self.problem.model.load_state_dict(state)
            self.alive = alive
            self._kill(self._chosen(worth, limits))
            predicted = self.costs(self.alive)
            small = compact(self.problem.model, self.example, call=self.original.call)
            found = self._measured(small, limits)
            if number == 0:
                record.predicted, record.first = predicted, found
            if not over(limits, found):
                best, record.costs = (small, self.alive), found
                if bool(self.alive.all()) or any(
                    found[k] > limit * (1 - NEAR) for k, limit in limits.items()
                ):
                    break
            if best is not None and any(torch.equal(self.alive, one) for one in tried):
                break  # nothing is left to learn
            tried.append(self.alive)
            self.costs.correct(self.alive, found)
        if best is None:
            raise BudgetError(exceeded(limits, found))
        self.problem.model.load_state_dict(state)
        self._kill(best[1])
        return best[0]

    def _chosen(self, worth: Tensor, limits: Mapping[Kind, float]) -> Tensor:
        try:
            return choose(self.groups, self.alive, worth, self.costs, limits)
        except OutOfReachError as error:
            raise BudgetError(f"prune: the budget cannot be met: {error}") from error

    @torch.no_grad()
    def _kill(self, alive: Tensor) -> None:
        """Zeros all that belongs to dead groups."""
        parameters = dict(self.problem.model.named_parameters())
        weights = {name: parameters[name] for name in self.groups.axis}
        for name, mask in self.groups.masks(alive, weights).items():
            weights[name].mul_(mask.to(weights[name]))
        self.alive = alive

    def _train(self, problem: Problem, steps: int) -> None:
        if not steps:
            return
        with preserved_rng():
            fit(problem, KeepZeros(), copy.deepcopy(self.weighting), steps=steps, **self.training)

    def _measured(self, small: nn.Module, limits: Mapping[Kind, float]) -> dict[Kind, float]:
        found = measured(small, self.example, self.budget, self.original.call)
        return {kind: found[kind] for kind in limits}

    def _lost(self, problem: Problem) -> dict[str, float]:
        """Task to the share that it lost on the validation split."""
        if self.reference is None:
            return {}
        found = {task: metrics for task, metrics in evaluate(problem, "val").items() if metrics}
        lost = shares_lost(found, self.reference, problem)
        broken = {task: math.inf for task in self.floors or {} if math.isnan(lost.get(task, math.nan))}
        return {task: share for task, share in lost.items() if not math.isnan(share)} | broken

    def _broken(self, broken: Mapping[str, float], stage: Mapping[Kind, float]) -> str:
        floors = self.floors or {}
        said = ", ".join(
            f"{task} loses {lost:.1%} (at most {floors[task]:.1%})" for task, lost in broken.items()
        )
        near = ", ".join(f"{cost:.4g} {kind}" for kind, cost in self.costs(self.alive).items())
        asked = ", ".join(f"{cost:.4g} {kind}" for kind, cost in stage.items())
        return (
            f"prune: on the way to the budget {said} at {asked}, however the channels were chosen; the floors held at about {near}. "
            "Give more steps, a looser budget or lower floors."
        )


def exceeded(limits: Mapping[Kind, float], found: Mapping[Kind, float]) -> str:
    """What was not met, and how near it came."""
    said = ", ".join(f"{found[kind]:.4g} {kind} against {limits[kind]:.4g}" for kind in over(limits, found))
    return (
        f"prune: the budget is not met: {said}, measured. Where time is limited, other programs may have been running; otherwise ask "
        "for a little less."
    )
