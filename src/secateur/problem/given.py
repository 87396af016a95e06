"""What a user makes a Task or a Problem of, checked when it is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from secateur.problem.choices import is_number

if TYPE_CHECKING:
    from secateur.problem.problem import Problem, Task


def check_task(task: Task) -> None:
    """Raises ValueError if a loss, or what else is a function, cannot be called, or the weight is no factor."""
    check_factor("Task: weight", task.weight)
    loss: Any = task.loss
    if isinstance(loss, type):
        raise ValueError(
            f"Task: loss is {loss.__name__}, a class; give an object of it, {loss.__name__}(), or a function (prediction, target) "
            "-> scalar."
        )
    if not callable(loss):
        raise ValueError(
            f"Task: loss is {loss!r}; give a function (prediction, target) -> scalar, such as torch.nn.functional.cross_entropy."
        )
    decode: Any = task.decode
    if decode is not None and not callable(decode):
        raise ValueError(f"Task: decode is {decode!r}; give a function (model, x) -> prediction.")
    count: Any = task.count
    if count is not None and not callable(count):
        raise ValueError(
            f"Task: count is {count!r}; give a function (prediction, target) -> number of labels that the loss is a mean over."
        )


def check_factor(what: str, value: Any) -> None:
    """Raises ValueError if ``value`` is not a finite number of at least 0; True and False are none."""
    if not is_number(value) or value < 0.0:
        raise ValueError(f"{what} is {value!r}; give a finite number, 0 or more.")


def named_metrics(metrics: Any) -> Mapping[str, Any]:
    """Metrics by name: a mapping as it is, one or several by the names of their classes or functions.

    Raises:
        ValueError: If one is neither a metric nor a function, or two have the same name.
    """
    if isinstance(metrics, Mapping):
        named = dict(cast(Mapping[str, Any], metrics))
    elif hasattr(metrics, "items"):  # a collection of torchmetrics
        named = dict(metrics.items())
    else:
        several = isinstance(metrics, Iterable) and not callable(metrics) and not isinstance(metrics, str)
        given = list(cast(Iterable[Any], metrics)) if several else [metrics]
        named = {_name(metric): metric for metric in given}
        if len(named) < len(given) or "<lambda>" in named:
            raise ValueError(
                f"Task: metrics are {[_name(m) for m in given]}; give them names, {{name: metric}}, where these are not one for each."
            )
    for name, metric in named.items():
        if isinstance(metric, type):
            raise ValueError(
                f"Task: metric {name!r} is a class; give an object of it, {metric.__name__}(...)."
            )
        if not callable(metric):
            raise ValueError(
                f"Task: metric {name!r} is {metric!r}; give a metric of torchmetrics, or a function (prediction, target) -> number."
            )
    return named


def _name(metric: Any) -> str:
    return getattr(metric, "__name__", type(metric).__name__)


def check_problem(problem: Problem, kind: type[Task]) -> None:
    """Raises ValueError if a part of a problem is something else than it should be."""
    model: Any = problem.model
    if not isinstance(model, nn.Module):
        given = f"{model.__name__}, a class" if isinstance(model, type) else type(model).__name__
        raise ValueError(f"Problem: model is {given}; give a torch.nn.Module.")
    tasks: Any = problem.tasks
    if not isinstance(tasks, Mapping):
        raise ValueError(f"Problem: tasks is {type(tasks).__name__}; give {{name: Task(loss)}}.")
    if not tasks:
        raise ValueError("Problem: tasks is empty; give at least one {name: Task}.")
    for name, task in cast(Mapping[Any, Any], tasks).items():
        if not isinstance(task, kind):
            raise ValueError(
                f"Problem: tasks[{name!r}] is {type(task).__name__}; give a Task, {{{name!r}: Task(loss)}}."
            )
    for name in ("unpack", "call"):
        value = getattr(problem, name)
        if value is not None and not callable(value):
            form = "batch -> (x, {task: target})" if name == "unpack" else "(model, x) -> {task: prediction}"
            raise ValueError(f"Problem: {name} is {type(value).__name__}; give a function {form}.")
    for split in ("train", "val", "test"):
        data = getattr(problem, split)
        if data is not None or split == "train":
            _check_data(data, split, cast(Mapping[str, Any], tasks))


def check_rereadable(problem: Problem) -> None:
    """Raises ValueError if a second pass over the training data would go on where the first one stands."""
    from torch.utils.data import DataLoader

    data: Any = problem.train
    loaders = cast(Mapping[str, Any], data) if isinstance(data, Mapping) else {"": data}
    for task, loader in loaders.items():
        if not isinstance(loader, DataLoader) and iter(loader) is iter(loader):
            where = f"train[{task!r}]" if task else "train"
            raise ValueError(
                f"Problem: {where} gives the same iterator each time, so it can be read only once; its __iter__ must begin anew, as "
                "that of a DataLoader or a list does."
            )


def _check_data(data: Any, where: str, tasks: Mapping[str, Any]) -> None:
    if isinstance(data, Mapping):
        loaders = cast(Mapping[str, Any], data)
        if not loaders:
            raise ValueError(f"Problem: {where} is empty; give a loader for each task.")
        if unknown := sorted(str(task) for task in loaders if task not in tasks):
            raise ValueError(
                f"Problem: {where} has loaders for {unknown}, but the tasks are {sorted(tasks)}; give {{task: loader}}, or one "
                "loader of (x, {task: target})."
            )
        for task, loader in loaders.items():
            _check_data(loader, f"{where}[{task!r}]", tasks)
        return
    form = "such as a DataLoader or a list of batches."
    if isinstance(data, Iterator):
        raise ValueError(
            f"Problem: {where} is a one-shot iterator; give something that can be iterated again and again, {form}"
        )
    iterable = isinstance(data, Iterable) or hasattr(data, "__getitem__")
    if isinstance(data, (str, bytes, Tensor, nn.Module)) or not iterable:
        remedy = (
            "call it in the __iter__ of a class" if callable(data) else "give something that can be iterated"
        )
        raise ValueError(f"Problem: {where} is {type(data).__name__}; {remedy}, {form}")
