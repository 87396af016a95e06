"""One step's losses put together: what is added up, weighed and taught."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, distributed

from secateur.problem import Problem, Together, frozen_tasks, selected, several, task_losses
from secateur.pruning import Sparsifier
from secateur.training.distillation import Distillation
from secateur.training.finite.finite import Finite
from secateur.training.labels import Labels
from secateur.weighting import Weighting, weighed


@dataclass(frozen=True)
class Terms:
    """The loss of one batch in its parts.

    Args:
        losses: Task to its own loss, before weighing and teaching.
        weights: Task to the weight that the weighting gave it; 1 of a task that trains nothing, which it is not asked about.
        weighed: Task to what enters the sum: ``Task.weight`` times weight times (loss + mismatch to the teacher); where that is 0 times
            anything, a zero, so that a loss that is only recorded may be infinite.
        penalty: What method and weighting add.
        nothing: Zero, with a history where the predictions have one, so that a batch without labels has a backward pass too.
        empty: Whether no process has a valid label in this batch, so that it is no step.
        tied: Of several processes: zero, with all that the others wait for.
    """

    losses: dict[str, Tensor]
    weights: Mapping[str, Tensor | float]
    weighed: dict[str, Tensor]
    penalty: Tensor | float
    nothing: Tensor | float = 0.0
    empty: bool = False
    tied: Tensor | float = 0.0

    @property
    def total(self) -> Tensor:
        """The sum, a scalar."""
        total = cast(Tensor, sum(self.weighed.values(), start=self.nothing) + self.penalty)
        return total + self.tied if isinstance(self.tied, Tensor) else total


@dataclass(frozen=True)
class Objective:
    """What a training step minimises.

    Args:
        problem: Gives tasks and losses.
        method: Adds its penalty.
        weighting: Gives the weights, and adds its penalty.
        together: Knows what other processes wait for.
        distillation: Adds the mismatch to a teacher to each task's loss; None adds nothing.
        labels: Counts batches without them.
        finite: Looks at losses and inputs.
    """

    problem: Problem
    method: Sparsifier
    weighting: Weighting
    together: Together
    distillation: Distillation | None = None
    labels: Labels | None = None
    finite: Finite | None = None

    def __call__(self, predictions: Any, targets: Mapping[str, Tensor], x: Any = None) -> Terms:
        """The parts of the loss of one batch; without gradients the plain sum of the tasks' losses, which nothing is learned from.

        Args:
            predictions: What the model returned, ``{task: prediction}``.
            targets: ``{task: target}``; it may lack some tasks, and a task whose labels are all ignored is as good as missing.
            x: The model's input, for a teacher.

        Raises:
            ValueError: If predictions, targets and tasks do not fit together, or nothing that is trained has a part in the loss of a
                task whose parameters are not all frozen.
        """
        tasks = self.problem.tasks
        asked = selected(predictions, targets, tasks)
        learning, whole = torch.is_grad_enabled(), self.together.whole
        if learning and whole is not None:
            shared = whole(asked, targets)
            losses, known = shared.losses, shared.known
            counted = (shared.asked, known, known)
        else:
            losses = task_losses(asked, targets, tasks)
            known = self._averaged(losses) if learning else losses
            counted = (asked, losses, known)
        if learning:
            self._check_learns(losses, asked)
            if self.labels is not None:
                self.labels.count(*counted)
        asked_about = {t: loss for t, loss in known.items() if t in self._weighed} if learning else {}
        given = self.weighting(asked_about) if asked_about else {}
        weights = {t: given[t] if t in asked_about else 1.0 for t in known}
        found, taught = {task: asked[task] for task in losses}, dict[str, Tensor]()
        if self.distillation and learning and (found or whole is not None):
            taught = self.distillation(x, found, self.problem.call, known if whole is not None else None)
        factors = {t: tasks[t].weight * weights[t] for t in known}
        silent = {t for t, factor in factors.items() if isinstance(factor, int | float) and factor == 0}
        weighed = {
            t: _nothing_of(asked[t], losses[t])
            if t in silent
            else factors[t] * (losses[t] + taught[t] if t in taught else losses[t])
            for t in losses
        }
        teaches = any(loss.requires_grad for loss in weighed.values()) or (weighed and not learning)
        nothing = 0.0 if teaches else self._nothing(predictions)
        if not learning:
            return Terms(losses, weights, weighed, 0.0, nothing, not known)
        penalty = (self.weighting.penalty() if asked_about else 0.0) + self.method.penalty()
        weighed, tied = self.together.completed(weighed, predictions, known)
        if whole is not None and (elsewhere := known.keys() - losses.keys()):
            for t in elsewhere:  # its value matters to what weighs it
                more = factors[t] * (known[t] + taught.get(t, 0.0))
                weighed[t] = weighed.get(t, 0.0) + (torch.zeros_like(more) if t in silent else more)
            losses = {t: losses.get(t, known[t]) for t in known}
            weighed = {t: weighed[t] for t in tasks if t in weighed}
        if self.finite is not None:
            self.finite.saw({t: loss for t, loss in losses.items() if t not in silent}, x)
        return Terms(losses, weights, weighed, penalty, nothing, not known, tied)

    def check_own_loss(self) -> None:
        """Raises ValueError if a part of this loss would be missing in a loss of the caller's own."""
        weighed = type(self.weighting).__call__ is not Weighting.__call__
        penalty = self.method.penalty()
        if weighed or self.distillation is not None or isinstance(penalty, Tensor) or penalty:
            who = self.weighting if weighed else self.distillation or self.method
            raise ValueError(
                f"{type(who).__name__} is part of the loss, so the loss cannot be the caller's own; train on "
                "pruning.loss(predictions, targets)."
            )

    def _check_learns(self, losses: Iterable[str], predictions: Mapping[str, Tensor]) -> None:
        """Raises ValueError naming a task whose prediction no parameter has a part in, unless all that it depends on is frozen."""
        for task in losses:
            learns = predictions[task].requires_grad or task in self._frozen
            if not learns and task not in frozen_tasks(self.problem):  # some may have been frozen since
                raise ValueError(
                    f"The loss of task {task!r} depends on no parameter that is trained, so that it would learn nothing; does the model "
                    "compute its prediction under torch.no_grad, or detach it? Leave the task out, or freeze its parameters, where that is meant."
                )

    def __post_init__(self) -> None:
        _ = self._weighed  # now, as the weighting found them in ``start``: what is frozen may change

    @cached_property
    def _weighed(self) -> frozenset[str]:
        return frozenset(weighed(self.problem))

    @cached_property
    def _frozen(self) -> set[str]:
        return frozen_tasks(self.problem)

    def _nothing(self, predictions: Mapping[str, Any]) -> Tensor:
        tensors = [p for p in predictions.values() if isinstance(p, Tensor) and p.is_floating_point()]
        parameters = [p for p in self.problem.model.parameters() if p.requires_grad][:1]
        return torch.stack([t.flatten()[:0].float().sum() for t in [*tensors, *parameters]]).sum()

    def _averaged(self, losses: dict[str, Tensor]) -> Mapping[str, Tensor]:
        """Losses averaged over the processes that have the task, so that every process weighs alike."""
        if not several():
            return losses
        own = [losses.get(task) for task in self.problem.tasks]
        device = next(p.device for p in self.problem.model.parameters())
        sums = torch.tensor([[0.0, 0.0] for _ in own], device=device)  # (tasks, [sum, processes])
        for row, loss in zip(sums, own, strict=True):
            if loss is not None:
                row[0], row[1] = loss.detach(), 1.0
        distributed.all_reduce(sums)  # once for all tasks: processes may have different ones
        return {t: total / count for t, (total, count) in zip(self.problem.tasks, sums, strict=True) if count}


def _nothing_of(prediction: Tensor, loss: Tensor) -> Tensor:
    """A zero like ``loss`` with the history of ``prediction``, all of whose gradients are 0 whatever the loss is."""
    return prediction.flatten()[:0].sum().to(loss)
