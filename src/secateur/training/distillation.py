"""Distillation: the pruned network is also trained towards what a dense one predicts, task by task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from secateur.problem import Call, Input, Problem, called, fed, selected


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
            if not 0 <= factor < float("inf"):
                raise ValueError(f"Distillation: the weight of {task} is {factor}; give 0 or more.")
        self.teacher.eval().to(next(problem.model.parameters()).device)

    def __call__(
        self, x: Input | None, predictions: Mapping[str, Tensor], call: Call | None = None
    ) -> dict[str, Tensor]:
        """Weighted :func:`mismatch` of each task to the teacher's prediction of ``x``.

        Args:
            x: The network's input.
            predictions: The network's, of the tasks of this batch.
            call: How network and teacher are called; None calls ``teacher(x)``.

        Raises:
            ValueError: If ``x`` is missing, or the teacher does not give ``{task: prediction}`` of the same shapes.
        """
        if x is None:
            raise ValueError("Distillation needs the model's input; call loss(predictions, targets, x).")
        wanted = {task: self.tasks.get(task, self.weight) for task in predictions}
        if not any(wanted.values()):
            return {}
        with torch.no_grad():
            found = fed(called(self.teacher, call), x)
        asked = [task for task, factor in wanted.items() if factor]
        if isinstance(found, Mapping) and (
            missing := sorted(set(asked) - set(cast(Mapping[str, Any], found)))
        ):
            raise ValueError(
                f"Distillation: the teacher predicts {sorted(cast(Mapping[str, Any], found))}, not {missing}."
            )
        taught = selected(found, dict.fromkeys(asked, True), asked, "The teacher")
        return {t: f * mismatch(predictions[t], taught[t]) for t, f in wanted.items() if f}


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
    if student.shape != teacher.shape:
        raise ValueError(
            f"Distillation: the student predicts {tuple(student.shape)}, the teacher {tuple(teacher.shape)}; "
            "both must have the same outputs."
        )
    target = teacher.detach().float()
    return (student.float() - target).square().mean() / target.var(correction=0).clamp(min=1e-12)
