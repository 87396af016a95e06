"""What is trained: one model, the tasks it does, and their data."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from secateur.problem.called import Call, called
from secateur.problem.forms import described, fed, selected, taken_apart, unpacked
from secateur.problem.given import check_problem, check_task, named_metrics
from secateur.problem.loaders import InTurn, OfTask, one_after_another
from secateur.problem.state import preserved_rng

if TYPE_CHECKING:
    from torchmetrics import Metric

Input = Tensor | Mapping[str, Tensor]
Batch = tuple[Input, Mapping[str, Tensor]]
Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Task:
    """What it means to be good at one thing.

    Args:
        loss: ``(prediction, target) -> scalar``; leaves invalid targets out. Where none is valid it may be NaN: the batch is
            one without this task.
        metrics: Name to torchmetrics ``Metric``, updated with ``(prediction, target)``; each must say
            ``higher_is_better``. Or to a function ``(prediction, target) -> number``, whose mean over the images counts;
            ``secateur.measures.metrics.MeanOf(function, higher_is_better=...)`` says the direction too. One or a list of
            them goes by the names of their classes or functions.
        weight: Constant factor of this task's loss, finite and not negative; 0 keeps the task in the record alone.
        picture: ``(prediction or target of one image) -> (H, W, 3) uint8``, for reports; None shows none.
        decode: ``(model in eval mode, x) -> prediction`` that the metrics see where it is not what the loss sees, such as
            a caption said word by word; None gives both the model's own.
        count: ``(prediction, target) -> number`` of labels that ``loss`` is a mean over, or the sum of their weights. With
            it several processes that share a batch exchange two numbers; without, predictions and targets of all.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: Mapping[str, Metric | Callable[[Tensor, Tensor], Any]] = field(
        default_factory=dict[str, "Metric"]
    )
    weight: float = 1.0
    picture: Callable[[Tensor], Tensor] | None = None
    decode: Callable[[nn.Module, Input], Tensor] | None = None
    count: Callable[[Tensor, Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        check_task(self)
        object.__setattr__(self, "metrics", named_metrics(self.metrics))


@dataclass(frozen=True)
class Problem:
    """A multi-task model with its tasks and data: the one thing that is passed around.

    Args:
        model: ``model(x) -> {task: prediction}``; other outputs are ignored. ``x`` is a tensor, or ``{task: x}`` when each
            task has an input of its own; then the model returns predictions for the tasks it was given. A mapping whose keys are
            no tasks, such as ``{"input_ids": ..., "attention_mask": ...}``, is one input of several tensors for all tasks.
        tasks: Name to :class:`Task`.
        train: Re-iterable of ``(x, {task: target})``; a batch may lack some tasks, or have None for them. Or
            ``{task: loader}``, each of ``(x, target)``: they take turns.
        val: Batches to choose settings on.
        test: Batches for the final figures, touched once.
        unpack: Batch of these loaders to ``(x, {task: target})``; None where they are that.
        call: ``(model, x) -> {task: prediction}``, where ``model(x)`` is not; it calls the model that it is given.

    Raises:
        ValueError: If one of them is something else.
    """

    model: nn.Module
    tasks: Mapping[str, Task]
    train: Iterable[Any]
    val: Iterable[Any] | None = None
    test: Iterable[Any] | None = None
    unpack: Callable[[Any], Any] | None = None
    call: Call | None = None

    def __post_init__(self) -> None:
        check_problem(self, Task)

    @cached_property
    def owners(self) -> dict[str, frozenset[str]]:
        """Parameter name to the tasks whose prediction depends on it, read off the autograd graph.

        Parameters that no task reaches own the empty set. Several owners mean a shared parameter. It does not matter which are frozen.

        Raises:
            ValueError: If the model and the targets do not name the same tasks, or a task depends on parameters that the
                model does not list, such as those of layers in a plain dict.
        """
        from secateur.problem.owners import find_owners  # it needs what is here

        return find_owners(self)

    @property
    def network(self) -> nn.Module:
        """The model as a module that is called by ``network(x)`` and gives ``{task: prediction}``; its parameters are the model's."""
        return called(self.model, self.call)

    def loader(self) -> Iterable[Any]:
        """What training batches come from, not taken apart; the tasks' own loaders in turn."""
        return InTurn(self.train) if isinstance(self.train, Mapping) else self.train

    def batches(self, split: Split = "train", *, once: bool = False) -> Iterator[Batch]:
        """One pass over a split, as ``(x, {task: target})``.

        Args:
            split: Which; it must be there.
            once: Every batch once, also where tasks have loaders of their own.
        """
        data = cast(Iterable[Any], getattr(self, split))
        if isinstance(data, Mapping):
            data = self.loader() if split == "train" and not once else one_after_another(data)
        return (self.batch(found, split) for found in data)

    def batch(self, found: Any, split: Split = "train") -> Batch:
        """A batch of a loader as ``(x, {task: target})``; targets that are None or hold no sample are left out.

        Raises:
            ValueError: If it is of another form.
        """
        task, found = found if isinstance(found, OfTask) else (None, found)
        made = found if self.unpack is None else unpacked(self.unpack, found)
        where = f"Problem.{split}" + (f"[{task!r}]" if task else "")
        pair = isinstance(made, (tuple, list)) and len(cast(list[Any], made)) == 2
        if task is not None and pair and not isinstance(made[1], Mapping):
            made = (made[0], {task: made[1]})
        return taken_apart(made, self.tasks, where, self.unpack is not None)

    def predict(self, x: Any, targets: Mapping[str, Any]) -> dict[str, Tensor]:
        """Predictions for the tasks that have a target in this batch.

        Raises:
            ValueError: If the model does not take ``x``, or does not give ``{task: prediction}``.
        """
        return selected(fed(self.network, x), targets, self.tasks)


def example(problem: Problem) -> Any:
    """The first training input, on the model's device; random state is left as it was.

    Where each task has an input of its own: the first of every task, out of as many batches as that takes.
    """
    device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
    found: dict[str, Tensor] = {}
    with preserved_rng():
        for x, _ in problem.batches():
            if not apart(x, problem.tasks):
                return to_device(x, device)
            found = {**cast(Mapping[str, Tensor], x), **found}
            if len(found) == len(problem.tasks):
                break
    return to_device({task: found[task] for task in problem.tasks if task in found}, device)


def apart(x: Any, tasks: Container[str]) -> bool:
    """Whether each task has an input of its own: ``{task: x}``, and not one tensor or several for all tasks."""
    return isinstance(x, Mapping) and all(name in tasks for name in cast(Mapping[str, Any], x))


def one(x: Input) -> Input:
    """The first sample of a batch, still with a batch dimension.

    Raises:
        ValueError: If it is no tensor and no mapping of tensors, such as a graph.
    """
    if isinstance(x, Tensor):
        return x[:1]
    given: Any = x
    if not isinstance(given, Mapping) or not all(
        isinstance(v, Tensor) for v in cast(Mapping[str, Any], given).values()
    ):
        raise ValueError(
            f"The input is {described(given)}; what looks at one sample takes a tensor, or {{name: tensor}}."
        )
    return {name: value[:1] for name, value in x.items()}


def sample_shape(x: Input) -> Any:
    """The shape of one sample, or of each of its tensors by name."""
    return list(x.shape[1:]) if isinstance(x, Tensor) else {n: list(v.shape[1:]) for n, v in x.items()}


def to_device(x: Any, device: torch.device) -> Any:
    """``x`` with every tensor in it moved to ``device``; tuples, lists and mappings are followed, others asked to move."""
    if isinstance(x, Tensor):
        return x.to(device, non_blocking=True)
    if isinstance(x, Mapping):
        return {key: to_device(value, device) for key, value in cast(Mapping[Any, Any], x).items()}
    if callable(move := getattr(x, "to", None)):  # such as packed sequences and graphs
        return move(device)
    if isinstance(x, (tuple, list)):
        moved = [to_device(value, device) for value in cast(list[Any], x)]
        return type(x)(*moved) if hasattr(x, "_fields") else type(x)(moved)
    return x
