"""Distillation: the pruned network is also trained towards what a dense one predicts, task by task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

from secateur.problem import Call, Input, Problem, as_one, called, check_factor, fed, selected


@dataclass(frozen=True)
class Distillation:
    """A teacher, and how strongly each task follows it.

    Args:
        teacher: A trained network with the same tasks, usually the dense one; it is not trained. Its predictions are
            taken in evaluation mode.
        weight: Factor of the distillation loss of every task, beside the task's own loss.
        tasks: Task to a factor of its own; 0 leaves the task to its labels.
    """

    teacher: nn.Module
    weight: float = 1.0
    tasks: Mapping[str, float] = field(default_factory=dict[str, float])

    def start(self, problem: Problem) -> None:
        """Moves the teacher to the model's device, in evaluation mode.

        Raises:
            ValueError: If a factor is negative or of a task that does not exist.
        """
        tasks = problem.tasks
        unknown = sorted(set(self.tasks) - set(tasks))
        if unknown:
            raise ValueError(f"Distillation: tasks names {unknown}, but the problem's are {sorted(tasks)}.")
        for task, factor in {"every task": self.weight, **self.tasks}.items():
            check_factor(f"Distillation: the weight of {task}", factor)
        self.teacher.eval().to(next(problem.model.parameters()).device)

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
        with torch.no_grad():
            found = fed(called(self.teacher, call), x) if asked else {}
        if isinstance(found, Mapping) and (
            missing := sorted(set(asked) - set(cast(Mapping[str, Any], found)))
        ):
            raise ValueError(
                f"Distillation: the teacher predicts {sorted(cast(Mapping[str, Any], found))}, not {missing}."
            )
        taught = selected(found, dict.fromkeys(asked, True), asked, "The teacher")
        pairs = {t: (predictions[t], taught[t]) for t in asked}
        if known is None:
            return {t: wanted[t] * mismatch(*pair) for t, pair in pairs.items()}
        device = next(self.teacher.parameters()).device
        rows = torch.zeros(len(wanted), 4, dtype=torch.float64, device=device)
        parts = {t: _sums(row, *pairs[t]) for row, t in zip(rows, wanted, strict=True) if t in pairs}
        distributed.all_reduce(rows)
        count, mean = rows[:, 0].clamp(min=1.0), rows[:, 1] / rows[:, 0].clamp(min=1.0)
        scale = 1.0 / (
            count * (rows[:, 2] / count - mean.square()).clamp(min=1e-12)
        )  # the variance is the teacher's
        made: dict[str, Tensor] = {}
        for i, (task, factor) in enumerate(wanted.items()):
            whole = (rows[i, 3] * scale[i]).float()
            if factor:
                made[task] = factor * (
                    as_one(parts[task] * scale[i].float(), whole) if task in parts else whole
                )
        return made


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
    return (student.float() - target).square().mean() / target.var(correction=0).clamp(min=1e-12)


def _check_shapes(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ValueError(
            f"Distillation: the student predicts {tuple(student.shape)}, the teacher {tuple(teacher.shape)}; "
            "both must have the same outputs."
        )
