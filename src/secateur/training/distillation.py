"""Distillation: the pruned network is also trained towards what a dense one predicts, task by task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

from secateur.problem import (
    Call,
    Input,
    Problem,
    as_one,
    called,
    check_factor,
    fed,
    preserved_rng,
    selected,
    to_device,
    undivided,
    undrawn,
)

_LOOKED = 8  # batches at most in which the teacher's predictions must vary
_ROUNDING = 1e-10  # of a variance beside the squared mean, in single precision


@dataclass(frozen=True)
class Distillation:
    """A teacher, and how strongly each task follows it.

    Args:
        teacher: A trained network with the same tasks, usually the dense one, that shares no parameter with the one trained; it is
            not trained. Its predictions are taken in evaluation mode.
        weight: Factor of the distillation loss of every task, beside the task's own loss.
        tasks: Task to a factor of its own; 0 leaves the task to its labels.
    """

    teacher: nn.Module
    weight: float = 1.0
    tasks: Mapping[str, float] = field(default_factory=dict[str, float])

    def start(self, problem: Problem) -> None:
        """Moves the teacher to the model's device, in evaluation mode.

        Raises:
            ValueError: If a factor is negative or of a task that does not exist, the teacher has parameters of the model, or it predicts
                one and the same value throughout each of the first batches.
        """
        tasks = problem.tasks
        unknown = sorted(set(self.tasks) - set(tasks))
        if unknown:
            raise ValueError(f"Distillation: tasks names {unknown}, but the problem's are {sorted(tasks)}.")
        for task, factor in {"every task": self.weight, **self.tasks}.items():
            check_factor(f"Distillation: the weight of {task}", factor)
        own = {id(p) for p in problem.model.parameters()}
        if shared := [name for name, p in self.teacher.named_parameters() if id(p) in own]:
            raise ValueError(
                f"Distillation: {len(shared)} parameters of the teacher are the model's own ({shared[0]}, ...), so it would be taught by "
                "what it is at the time; give copy.deepcopy(model)."
            )
        device = next(problem.model.parameters()).device
        self.teacher.eval().to(device)
        self._check_taught(problem, device)

    def __call__(
        self,
        x: Input | None,
        predictions: Mapping[str, Tensor],
        call: Call | None = None,
        known: Iterable[str] | None = None,
    ) -> dict[str, Tensor]:
        """Weighted :func:`mismatch` of each task to the teacher's prediction of ``x``.

        Args:
            x: The network's input.
            predictions: The network's, of the tasks of this batch.
            call: How network and teacher are called; None calls ``teacher(x)``.
            known: The tasks of the whole batch, of which this process has a share; None if it is the batch.

        Raises:
            ValueError: If ``x`` is missing, or the teacher does not give ``{task: prediction}`` of the same shapes.
        """
        if x is None:
            raise ValueError("Distillation needs the model's input; call loss(predictions, targets, x).")
        wanted = {t: self.tasks.get(t, self.weight) for t in (predictions if known is None else known)}
        if not any(wanted.values()):
            return {}
        asked = [task for task, factor in wanted.items() if factor and task in predictions]
        taught = self._predict(x, asked, call)
        pairs = {t: (predictions[t], taught[t]) for t in asked}
        if known is None:
            return {t: wanted[t] * mismatch(*pair) for t, pair in pairs.items()}
        device = next(self.teacher.parameters()).device
        rows = torch.zeros(len(wanted), 4, dtype=torch.float64, device=device)
        parts = {t: _sums(row, *pairs[t]) for row, t in zip(rows, wanted, strict=True) if t in pairs}
        distributed.all_reduce(rows)
        count, mean = rows[:, 0].clamp(min=1.0), rows[:, 1] / rows[:, 0].clamp(min=1.0)
        scale = _inverse(rows[:, 2] / count - mean.square(), mean) / count  # the variance is the teacher's
        made: dict[str, Tensor] = {}
        for i, (task, factor) in enumerate(wanted.items()):
            whole = (rows[i, 3] * scale[i]).float()
            if factor:
                made[task] = factor * (
                    as_one(parts[task] * scale[i].float(), whole) if task in parts else whole
                )
        return made

    def _predict(self, x: Input, asked: list[str], call: Call | None) -> dict[str, Tensor]:
        """The teacher's predictions of the tasks asked."""
        with torch.no_grad():
            found = fed(called(self.teacher, call), x) if asked else {}
        if isinstance(found, Mapping) and (
            missing := sorted(set(asked) - set(cast(Mapping[str, Any], found)))
        ):
            raise ValueError(
                f"Distillation: the teacher predicts {sorted(cast(Mapping[str, Any], found))}, not {missing}."
            )
        return selected(found, dict.fromkeys(asked, True), asked, "The teacher")

    def _check_taught(self, problem: Problem, device: torch.device) -> None:
        """Raises ValueError if a task would learn nothing, since no prediction of the teacher varies within a batch."""
        varied = {t: False for t in problem.tasks if self.tasks.get(t, self.weight)}
        seen = set[str]()
        loader = problem.loader()
        with preserved_rng(), undrawn(loader), undivided(loader):
            for x, targets in islice(problem.batches() if varied else (), _LOOKED):
                asked = [task for task in targets if not varied.get(task, True)]
                try:
                    found = self._predict(to_device(x, device), asked, problem.call)
                except Exception:  # said at the first step, which may be under the caller's own autocast
                    return
                for task, taught in found.items():
                    seen.add(task)
                    variance, mean = torch.var_mean(taught.float(), correction=0)
                    varied[task] = bool(variance.isnan() | (_inverse(variance, mean) > 0))
                if all(varied.values()):
                    return
        if same := [task for task in seen if not varied[task]]:
            raise ValueError(
                f"Distillation: the teacher predicts the same value throughout each of the first {_LOOKED} batches for {sorted(same)}, "
                f"which teaches nothing; give larger batches, another teacher, or tasks={{{same[0]!r}: 0.0}}."
            )


def _inverse(variance: Tensor, mean: Tensor) -> Tensor:
    """1 over the variance; 0 where it is no more than rounding beside the mean, so that a constant prediction teaches nothing."""
    return torch.where(variance > _ROUNDING * mean.square(), 1.0 / variance.clamp(min=1e-30), 0.0)


def _sums(row: Tensor, student: Tensor, teacher: Tensor) -> Tensor:
    """Fills ``row`` with the teacher's count, sum and sum of squares and the squared difference, which is returned too."""
    _check_shapes(student, teacher)
    target = teacher.detach().float()
    difference = (student.float() - target).square().sum()
    count = target.numel()
    variance, mean = torch.var_mean(target, correction=0)
    row[0], row[1], row[3] = count, mean.double() * count, difference.detach()
    row[2] = (variance.double() + mean.double().square()) * count
    return difference


def mismatch(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two predictions over the variance of the teacher's: 0 is equal, 1 knows only the mean.

    Where the teacher's is the same everywhere, such as one value of the one sample of a last batch, it is 0: there is no scale.

    On logits the squared difference teaches more than the Kullback-Leibler divergence does (Kim et al. 2021,
    arXiv 2105.08919), and it needs no temperature; the variance makes tasks of different units alike.

    Args:
        student: (N, ...) logits or values.
        teacher: Of the same shape.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_shapes(student, teacher)
    target = teacher.detach().float()
    variance, mean = torch.var_mean(target, correction=0)
    return (student.float() - target).square().mean() * _inverse(variance, mean)


def _check_shapes(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ValueError(
            f"Distillation: the student predicts {tuple(student.shape)}, the teacher {tuple(teacher.shape)}; "
            "both must have the same outputs."
        )
