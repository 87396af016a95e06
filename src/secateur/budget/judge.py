"""What a network lost against the dense one, and whether that breaks a floor."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import torch
from torch import nn

from secateur.budget.checks import check_reference
from secateur.budget.int8 import Judged, check_int8, judged
from secateur.budget.record import BudgetError, Record
from secateur.deployment.export import Quantize
from secateur.measures import DeadTaskWarning, dead_said, evaluate, higher_is_better, unmoved
from secateur.problem import Input, Problem, to_device
from secateur.training import shares_lost

_BATCHES = 4  # to see whether predictions differ


class Judge:
    """The floors of one run.

    Args:
        problem: Trained.
        floors: Task to the share of its validation metrics that it may lose.
        quantize: ``int8`` where a file in int8 is what they hold for.
        example: What such a file is made with.
        engine: Which it is for.

    Attributes:
        keep: Tasks whose heads stay in float; they become more where int8 breaks a floor.

    Raises:
        ValueError: If no share can be taken of what a floor is for.
        BudgetError: If the dense network breaks a floor in int8 already.
    """

    def __init__(
        self,
        problem: Problem,
        floors: Mapping[str, float] | None,
        quantize: Quantize | None,
        example: Input,
        engine: str = "onnxruntime",
    ) -> None:
        self.floors, self.example, self.engine = dict(floors or {}), example, engine
        self.quantize: Quantize | None = quantize
        self.problem = problem
        self.reference = None if floors is None else evaluate(problem, "val")
        check_reference(problem, self.reference, self.floors)
        self.compared = _scores(problem) if self.reference is None else self.reference
        self.keep: tuple[str, ...] = ()
        self.dead: tuple[str, ...] = ()
        if dead := self._dead(problem.model):
            raise ValueError(f"prune: {dead_said(dead)}")
        if quantize is not None:
            check_int8(problem, self.floors)
            found = self._in_int8(problem.model)
            if found.broken:
                raise BudgetError(
                    f"prune: in int8 the dense network itself breaks what is asked, with the heads of {', '.join(found.broken)} in float: "
                    f"{self.said(found.lost, found.errors, found.broken)}. Give lower floors, or leave quantize out."
                )

    def lost(self, model: nn.Module) -> dict[str, float]:
        """Task to the share that it lost on the validation split, if there are floors; infinite where a floor's metric became NaN."""
        return {} if self.reference is None else self._lost(model, self.reference)

    def _lost(self, model: nn.Module, reference: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        problem = replace(self.problem, model=model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeadTaskWarning)  # a network that is finished is looked at for it
            found = {task: metrics for task, metrics in evaluate(problem, "val").items() if metrics}
        lost = shares_lost(found, reference, problem)
        broken = {task: math.inf for task in self.floors if math.isnan(lost.get(task, math.nan))}
        return {task: share for task, share in lost.items() if not math.isnan(share)} | broken

    def midway(self, model: nn.Module, record: Record) -> tuple[str, ...]:
        """The tasks of a network on the way that lose too much; says in ``record`` what they lost."""
        record.lost = self.lost(model)
        return self.broken(record.lost)

    def final(self, model: nn.Module, record: Record) -> tuple[str, ...]:
        """The tasks of a finished network that lose too much, as its file is judged; says in ``record`` what they lost."""
        record.lost = {} if self.compared is None else self._lost(model, self.compared)
        broken = self.broken(record.lost)
        self.dead = tuple(self._dead(model))
        broken += tuple(task for task in self.dead if task not in broken)
        if broken or self.quantize is None:
            return broken
        found = self._in_int8(model)
        record.quantize, record.keep_float, record.errors = self.quantize, list(found.keep), found.errors
        record.lost = {task: share for task, share in found.lost.items() if not math.isnan(share)}
        record.lost |= {task: math.inf for task in found.broken if math.isnan(found.lost.get(task, 0.0))}
        return found.broken

    def broken(self, lost: Mapping[str, float]) -> tuple[str, ...]:
        """The tasks whose floors are."""
        return tuple(task for task, share in lost.items() if share > self.floors.get(task, math.inf))

    def said(self, lost: Mapping[str, float], errors: Mapping[str, float], broken: tuple[str, ...]) -> str:
        """What these tasks lose, and may."""
        return ", ".join(
            f"{task} is dead, its prediction the same whatever the input"
            if task in self.dead
            else f"{task} loses {lost[task]:.1%} (at most {100 * self.floors[task]:g}%)"
            if task in self.floors
            else f"{task} is off by {errors[task]:.0%} of its largest value in int8"
            for task in broken
        )

    @property
    def kept(self) -> str:
        """What makes a finished network cost more than it did when it was chosen, before a cost."""
        heads = ", ".join(self.keep)
        return (
            f"the heads of {heads} stay in float and take "
            if heads
            else "the file of the finished network takes "
        )

    def _dead(self, model: nn.Module) -> list[str]:
        """Tasks whose prediction does not depend on the input, over a few training batches."""
        problem = replace(self.problem, model=model)
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        batches = islice(problem.batches("train", once=True), _BATCHES)
        return unmoved(problem.network, (to_device(x, device) for x, _ in batches))

    def _in_int8(self, model: nn.Module) -> Judged:
        found = judged(
            replace(self.problem, model=model),
            self.example,
            self.floors,
            self.compared,
            self.keep,
            engine=self.engine,
        )
        self.keep = found.keep
        return found


def _scores(problem: Problem) -> dict[str, dict[str, float]] | None:
    """What the dense network has on the validation split, where it can be had: without floors it decides nothing."""
    if problem.val is None or not any(task.metrics for task in problem.tasks.values()):
        return None
    with warnings.catch_warnings(action="ignore"):
        try:
            higher_is_better(problem.tasks)
            return evaluate(problem, "val")
        except ValueError:  # a metric that does not say, or a task without labels there
            return None
