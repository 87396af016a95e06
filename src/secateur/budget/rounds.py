"""The rounds of :func:`secateur.budget.prune`: score, choose, train on; measured at the end."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, cast

from torch import Tensor, nn

from secateur.budget.choose import made_small, nearest_choice, zero_dead
from secateur.budget.cost_model import CostModel, has_table
from secateur.budget.judge import Judge
from secateur.budget.latency import Latency
from secateur.budget.limits import Budget, Kind, over
from secateur.budget.measured import Costing, File
from secateur.budget.nearest import nearest, not_below
from secateur.budget.noise import check_noise
from secateur.budget.phases import Phases
from secateur.budget.reach import check_reach
from secateur.budget.record import Record, attach_record, floors_broken
from secateur.budget.repair import repair as repaired
from secateur.budget.worth import Score, joined, task_worth
from secateur.deployment.bench import LayerEngine
from secateur.deployment.export import Quantize
from secateur.methods import KeepZeros
from secateur.problem import Input, Problem, example, one, preserved_rng
from secateur.shrinking import copied, problem_groups
from secateur.training import MakeOptimizer, fit
from secateur.weighting import Weighting

_Look = Callable[[nn.Module, Record], tuple[str, ...]]
_AGAIN = 3  # times that a round which broke a floor is chosen anew
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
        quantize: Quantize | None = None,
        on: Input | None = None,
        progress: bool = True,
        file: File | None = None,
    ) -> None:
        self.original, self.budget = problem, budget
        self.problem = replace(problem, model=copied(problem.model))
        self.steps, self.rounds = steps, rounds
        self.score: Score = score
        self.batches, self.repair = batches, repair
        self.training: dict[str, Any] = {"optimizer": optimizer, "progress": progress}
        self.seed, self.weighting = seed, weighting
        self.example = one(example(problem)) if on is None else on
        self.phase = Phases(budget, rounds, progress)
        self.costing = Costing(problem, self.example, budget, quantize, file, self.phase)
        self.groups = problem_groups(self.problem)
        weights = dict(self.problem.model.named_parameters())
        self.whole = self.groups.norms({name: weights[name].detach() for name in self.groups.axis}) > 0
        self.alive, self.foreseen = self.whole, True
        self._small = partial(made_small, self.problem.model, self.example, problem.call, self.groups)
        self.phase.measuring("the dense network")
        self.dense = self.costing.dense()
        self.judge = Judge(problem, floors, quantize, one(example(problem)), budget.engine)
        whole = self.dense if quantize is None else self._measured(problem.model)
        table = "ms" in budget.kinds and has_table(budget.engine)
        engine = cast(LayerEngine, budget.engine)
        latency = Latency(engine, budget.threads, say=self.phase) if table else None
        known = self.problem.model, self.example, self.groups, budget
        self.costs = CostModel(*known, whole, latency, problem.call, 1 if quantize else 4)
        self.weight = dict.fromkeys(problem.tasks, 1.0)
        self.noise: dict[str, float] = {}

    def check(self, budgets: Sequence[Budget]) -> None:
        """Before anything is pruned: whether the budgets can be met and the floors mean something.

        Raises:
            ValueError: If a budget is looser than the one before.
            BudgetError: If none can meet one.
        """
        limits = [budget.absolute(self.dense) for budget in budgets]
        for (first, above), (second, below) in pairwise(zip(budgets, limits, strict=True)):
            if any(below[kind] > above[kind] for kind in below):
                raise ValueError(f"prune: {second} is looser than {first} before it; give the loosest first.")
        self.phase.measuring("the smallest network there is")
        known = self.problem.model, self.example, self.original.call, self.groups, self.alive, self.costs
        self.foreseen = check_reach(*known, self._measured, limits)
        if self.judge.floors and self.steps:
            self.phase("training the dense network on for a little, to see what floors mean")
        self.noise = check_noise(
            self.original,
            self.judge.floors,
            self.steps,
            self._train,
            lambda trained: self.judge.lost(trained.model),
        )

    def to(self, budget: Budget) -> nn.Module:
        """The network that keeps ``budget``; later ones go on from here.

        Raises:
            BudgetError: If it cannot be had.
        """
        limits = budget.absolute(self.dense)
        record = Record(str(budget), limits, self.dense, noise=self.noise)
        now = self.costs(self.alive)
        small: nn.Module | None = None
        for number in range(1, self.rounds + 1):
            self.phase.number, part = number, number / self.rounds
            stage: dict[Kind, float] = {
                kind: now[kind] * min(1.0, limit / now[kind]) ** part for kind, limit in limits.items()
            }
            small = self._kept_floors(stage, limits if number == self.rounds else None, record)
            record.left.append(int(self.alive.sum()))
        assert small is not None
        if record.short and "ms" in limits:
            warnings.warn(f"prune: more than 5 % below the budget: {record.short}", stacklevel=2)
        attach_record(small, record)
        return small

    def _kept_floors(
        self, stage: dict[Kind, float], limits: Mapping[Kind, float] | None, record: Record
    ) -> nn.Module | None:
        """A round; where it breaks a floor it is chosen anew with the worth of that task doubled."""
        said, tried = "", "however the channels were chosen"
        for _ in range(_AGAIN + 1):
            before = (copy.deepcopy(self.problem.model.state_dict()), self.alive)
            small, broken = self._round(stage, limits, record)
            above = over(limits, record.costs) if limits else {}  # heads that are in float now cost time
            if not broken and not above:
                return small
            said = self.judge.said(record.lost, record.errors, broken) or ", ".join(
                f"{self.judge.kept}{record.costs[kind]:.4g} {kind}" for kind in above
            )
            self.problem.model.load_state_dict(before[0])
            self.alive = before[1]
            if set(broken) == set(self.weight):  # all count twice, and the same channels would be chosen
                tried = "and so did every other task"
                break
            for task in broken:
                self.weight[task] *= 2.0
        raise floors_broken(said, tried, stage, self.costs(self.alive))

    def _round(
        self, stage: Mapping[Kind, float], limits: Mapping[Kind, float] | None, record: Record
    ) -> tuple[nn.Module | None, tuple[str, ...]]:
        """Scores, chooses and trains on until costs are those of ``stage``; the tasks that lose too much.

        With ``limits``, in the last round, also the small network, measured.
        """
        self.phase(f"scoring {int(self.alive.sum())} groups of channels on {self.batches} batches")
        scores = task_worth(self.problem, self.groups, self.score, self.batches, self.seed)
        worth = joined(scores, self.judge.floors, self.weight)
        last = round(self.steps * (_LAST if self.rounds > 1 else 1))
        if limits is None:
            self._kill(self._fewer(worth, stage))
            if not self.steps:
                return None, ()  # scored anew, and judged when it is repaired
            steps = round(self.steps * (1 - _LAST) / (self.rounds - 1)), last
            what, model = f"{int(self.alive.sum())} groups are left; training on", self.problem.model
            return None, self._tuned(model, what, steps, self.judge.midway, record)
        self.phase.measuring("networks near the budget")
        small, keep = self._met(worth, limits, record), self.judge.keep
        if self.steps:
            broken = self._tuned(
                small, "fine-tuning the small network", (last, last), self.judge.final, record
            )
        else:
            if self.repair:
                self.phase(f"repairing the small network on {self.repair} batches")
                repaired(self.original, small, self.repair)
            broken = self.judge.final(small, record)
        if not broken:
            costs = record.costs if self.judge.keep == keep else self._measured(small)
            record.costs = self.costing.finished(small, self.judge.keep, costs)
        return small, broken

    def _tuned(
        self, model: nn.Module, what: str, steps: Sequence[int], look: _Look, record: Record
    ) -> tuple[str, ...]:
        """Trains for the first of ``steps``; where a floor is broken then, for the next, which may win it back. What is broken."""
        broken = ()
        for seed, count in enumerate(steps):
            self.phase.training(what, count)
            self._train(replace(self.problem, model=model), count, seed)
            if not (broken := look(model, record)):
                break
            what = f"{self.judge.said(record.lost, record.errors, broken)}; training on"
        return broken

    def _met(self, worth: Tensor, limits: Mapping[Kind, float], record: Record) -> nn.Module:
        """The small network whose measured costs keep the limits, one of them nearly; not trained yet."""
        choose = partial(self._pick, worth)

        def measure(alive: Tensor) -> tuple[nn.Module, dict[Kind, float]]:
            small = self._small(alive)
            return small, self._measured(small)

        found = nearest(choose, measure, self.costs, limits, self.alive, self.whole)
        record.predicted, record.first = found.predicted, found.first
        record.costs, record.short = found.costs, found.why
        self._kill(found.alive)
        return found.made

    def _fewer(self, worth: Tensor, stage: Mapping[Kind, float]) -> Tensor:
        """What is left after a round before the last, (count,) bool."""
        if self.foreseen:
            return self._pick(worth, stage)
        choose, known = partial(self._pick, worth), (self.costs, stage, self.alive)
        return not_below(choose, lambda alive: self.costing.count(self._small(alive)), *known)

    def _pick(self, worth: Tensor, limits: Mapping[Kind, float]) -> Tensor:
        return nearest_choice(self.groups, self.alive, worth, self.costs, limits)

    def _kill(self, alive: Tensor) -> None:
        zero_dead(self.problem.model, self.groups, alive)
        self.alive = alive

    def _train(self, problem: Problem, steps: int, seed: int = 0) -> None:
        if not steps:
            return
        with preserved_rng():
            how: dict[str, Any] = {"steps": steps, "seed": self.seed + seed, **self.training}
            fit(problem, KeepZeros(), copy.deepcopy(self.weighting), **how)

    def _measured(self, small: nn.Module) -> dict[Kind, float]:
        return self.costing.measure(small, self.judge.keep)
