"""What is trained: one model, the tasks it does, and their data."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from secateur.problem.rng import preserved_rng

if TYPE_CHECKING:
    from torchmetrics import Metric

Input = Tensor | Mapping[str, Tensor]
Batch = tuple[Input, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Task:
    """What it means to be good at one thing.

    Args:
        loss: ``(prediction, target) -> scalar``; leaves invalid targets out.
        metrics: Name to torchmetrics ``Metric``, updated with ``(prediction, target)``; each must say
            ``higher_is_better``.
        weight: Constant factor of this task's loss.
        picture: ``(prediction or target of one image) -> (H, W, 3) uint8``, for reports; None shows none.
        decode: ``(model in eval mode, x) -> prediction`` that the metrics see where it is not what the loss sees, such as
            a caption said word by word; None gives both the model's own.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: Mapping[str, Metric] = field(default_factory=dict[str, "Metric"])
    weight: float = 1.0
    picture: Callable[[Tensor], Tensor] | None = None
    decode: Callable[[nn.Module, Input], Tensor] | None = None


@dataclass(frozen=True)
class Problem:
    """A multi-task model with its tasks and data: the one thing that is passed around.

    Args:
        model: ``model(x) -> {task: prediction}``. ``x`` is a tensor, or ``{task: x}`` when each task has an
            input of its own; then the model returns predictions for the tasks it was given. A mapping whose keys are
            no tasks, such as ``{"input_ids": ..., "attention_mask": ...}``, is one input of several tensors for all tasks.
        tasks: Name to :class:`Task`.
        train: Re-iterable of ``(x, {task: target})``; a batch may lack some tasks.
        val: Batches to choose settings on.
        test: Batches for the final figures, touched once.
    """

    model: nn.Module
    tasks: Mapping[str, Task]
    train: Iterable[Batch]
    val: Iterable[Batch] | None = None
    test: Iterable[Batch] | None = None

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("Problem: tasks is empty; give at least one {name: Task}.")
        if iter(self.train) is self.train:
            raise ValueError(
                "Problem: train is a one-shot iterator; give something that can be iterated again and again, "
                "such as a DataLoader or a list of batches."
            )

    @cached_property
    def owners(self) -> dict[str, frozenset[str]]:
        """Parameter name to the tasks whose prediction depends on it, read off the autograd graph.

        Parameters that no task reaches own the empty set. Several owners mean a shared parameter.

        Raises:
            ValueError: If the model and the targets do not name the same tasks, or a task depends on parameters that the
                model does not list, such as those of layers in a plain dict.
        """
        from secateur.problem.owners import find_owners  # it needs what is here

        return find_owners(self)


def predict(
    model: nn.Module, x: Input, targets: Mapping[str, Tensor], tasks: Mapping[str, Task]
) -> dict[str, Tensor]:
    """Predictions of ``model`` for the tasks that have a target in this batch; raises as :func:`selected`."""
    return selected(model(x), targets, tasks)


def selected(predictions: Any, targets: Any, tasks: Mapping[str, Task]) -> dict[str, Tensor]:
    """Of what the model returned the predictions of the tasks that have a target in this batch.

    Raises:
        ValueError: If a target has no task, a prediction is missing, or the model returned no dict.
    """
    if not isinstance(targets, Mapping):
        raise ValueError(
            f"The targets are {type(targets).__name__}; a batch is (x, {{task: target}}) with the tasks {sorted(tasks)}."
        )
    targets = {task: target for task, target in targets.items() if target is not None}
    if not isinstance(predictions, Mapping):
        raise ValueError(
            f"The model returned {type(predictions).__name__}; it must return a dict {{task: prediction}} "
            f"with the tasks {sorted(tasks)}."
        )
    unknown = sorted(set(targets) - set(tasks))
    if unknown:
        raise ValueError(
            f"The targets name {unknown}, but the problem's tasks are {sorted(tasks)}; add a Task for it or drop the target."
        )
    missing = sorted(set(targets) - set(predictions))
    if missing:
        raise ValueError(
            f"The targets name {missing}, but the model returned only {sorted(predictions)}; name the model's outputs after the tasks."
        )
    surplus = sorted(set(predictions) - set(tasks))
    if surplus:
        raise ValueError(
            f"The model returned {surplus}, but the problem's tasks are {sorted(tasks)}; add a Task for it or leave the output away."
        )
    return {task: predictions[task] for task in tasks if task in targets}


def example(problem: Problem) -> Any:
    """The first training input, on the model's device; random state is left as it was.

    Where each task has an input of its own: the first of every task, out of as many batches as that takes.
    """
    device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
    found: dict[str, Tensor] = {}
    with preserved_rng():
        for x, _ in problem.train:
            if isinstance(x, Tensor) or not apart(x, problem.tasks):
                return to_device(x, device)
            found = {**x, **found}
            if len(found) == len(problem.tasks):
                break
    return to_device({task: found[task] for task in problem.tasks if task in found}, device)


def apart(x: Input, tasks: Container[str]) -> bool:
    """Whether each task has an input of its own: ``{task: x}``, and not one tensor or several for all tasks."""
    return isinstance(x, Mapping) and all(name in tasks for name in x)


def one(x: Input) -> Input:
    """The first sample of a batch, still with a batch dimension."""
    return x[:1] if isinstance(x, Tensor) else {name: value[:1] for name, value in x.items()}


def sample_shape(x: Input) -> Any:
    """The shape of one sample, or of each of its tensors by name."""
    return list(x.shape[1:]) if isinstance(x, Tensor) else {n: list(v.shape[1:]) for n, v in x.items()}


def to_device(x: Any, device: torch.device) -> Any:
    """``x`` with every tensor in it moved to ``device``; tuples, lists and mappings are followed."""
    if isinstance(x, Tensor):
        return x.to(device, non_blocking=True)
    if isinstance(x, Mapping):
        return {key: to_device(value, device) for key, value in x.items()}
    if isinstance(x, (tuple, list)):
        return type(x)(to_device(value, device) for value in x)
    return x
