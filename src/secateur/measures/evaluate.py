"""How good a model is at each of its tasks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from copy import deepcopy
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
import torch.distributed
from torch import Tensor

from secateur.measures.unmoved import DeadTaskWarning, Unmoved, dead_said
from secateur.problem import (
    Problem,
    RemediedError,
    Task,
    check_count,
    described,
    looking,
    preserved_rng,
    to_device,
)

if TYPE_CHECKING:
    from torchmetrics import Metric, MetricCollection

Split = Literal["val", "test", "train"]


def evaluate(
    problem: Problem,
    split: Split = "test",
    *,
    limit: int | None = None,
    watch: Unmoved | None = None,
) -> dict[str, dict[str, float]]:
    """Every metric of every task over one split: ``{task: {metric: value}}``.

    The model runs in eval mode on the device it is on, a task with ``decode`` by means of that, and is left as it was: modes, BatchNorm statistics and the
    global random state do not change. Copies of the metrics do the counting. On several processes each evaluates
    its own batches, torchmetrics adds them up, and all of them must call this function. A task whose prediction is the same
    for every sample, where these are not, is named in a :class:`DeadTaskWarning`. One that predicts NaN anywhere is named in a warning, and its metrics are nan:
    the largest of logits that are NaN is class 0, which would pass for a prediction.

    Args:
        problem: Model, tasks and data. A batch may lack some tasks.
        split: Which data.
        limit: Use only so many batches; None uses all.
        watch: Sees all predictions; afterwards ``watch.tasks`` are dead.

    Returns:
        Plain numbers; one that is not finite is nan, for instance when no pixel is valid.

    Raises:
        ValueError: If ``split`` is unknown or the problem has none, a task has no target in it, ``limit`` is below 1, or a
            metric does not take prediction and target or its value is not a scalar.
    """
    if not isinstance(cast(Any, problem), Problem):
        raise ValueError(f"evaluate: problem is {type(problem).__name__}; give a Problem(model, tasks, ...).")
    if split not in get_args(Split):
        raise ValueError(f"evaluate: split is {split!r}; choose one of {list(get_args(Split))}.")
    if getattr(problem, split) is None:
        raise RemediedError(
            f"evaluate: the problem has no {split} data;",
            f"give Problem(..., {split}=...).",
            f"choose another --split, or data that have {split}.",
        )
    if limit is not None:
        check_count("evaluate: limit", limit, remedy="give at least 1, or None for all batches")
    model = problem.model
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    counting = torch.device("cpu") if device.type == "mps" else device  # Apple's GPU has no float64
    collections = {task: _collection(spec).to(counting) for task, spec in problem.tasks.items()}
    updates, watched = dict.fromkeys(problem.tasks, 0), watch or Unmoved()
    nans = {task: torch.tensor(0, device=device) for task in problem.tasks}  # batches with any
    with looking(model), torch.no_grad():
        model.eval()
        for x, targets in islice(problem.batches(split, once=True), limit):
            x = to_device(x, device)
            predictions = problem.predict(x, targets) if targets else {}
            watched.see(x, predictions)
            for task, prediction in predictions.items():
                if isinstance(cast(Any, prediction), Tensor):
                    nans[task] += prediction.isnan().any().to(device)
                decode = problem.tasks[task].decode
                prediction = prediction if decode is None else decode(model, x)
                _update(task, collections[task], prediction.to(counting), to_device(targets[task], counting))
                updates[task] += 1
    found = _counts_of_all(updates, nans, split, device)
    if wrong := [f"{task!r} (in {n} of {of} batches)" for task, (of, n) in found.items() if n]:
        warnings.warn(
            f"evaluate: {', '.join(wrong)} predicts NaN; all its metrics are nan. Look at its training, or at the input.",
            stacklevel=2,
        )
    if said := dead_said(watched.tasks):
        warnings.warn(f"evaluate: {said}", DeadTaskWarning, stacklevel=2)
    with preserved_rng():  # some metrics draw, such as those that are bootstrapped
        values = {task: _values(task, spec, collections[task]) for task, spec in problem.tasks.items()}
    return {task: dict.fromkeys(of, math.nan) if found[task][1] else of for task, of in values.items()}


def higher_is_better(tasks: Mapping[str, Task]) -> dict[str, dict[str, bool]]:
    """The direction of each metric: ``{task: {metric: True if more is better}}``.

    Raises:
        ValueError: If a metric does not say.
    """
    return {
        task: {name: _direction(task, name, _metric(metric)) for name, metric in spec.metrics.items()}
        for task, spec in tasks.items()
    }


def _direction(task: str, name: str, metric: Metric) -> bool:
    if metric.higher_is_better is None:
        function = getattr(metric, "function", None)
        remedy = (
            "set it to True or False on the class"
            if function is None
            else f"write MeanOf({getattr(function, '__name__', 'function')}, higher_is_better=True or False) of secateur.measures.metrics"
        )
        raise ValueError(
            f"Metric {name!r} of task {task!r} ({type(metric).__name__}) has higher_is_better = None; {remedy}."
        )
    return metric.higher_is_better


def _collection(task: Task) -> MetricCollection:
    """Fresh copies by position, because a collection takes no names with a dot such as ``within_11.25``."""
    from torchmetrics import MetricCollection

    metrics = {str(i): deepcopy(_metric(metric)) for i, metric in enumerate(task.metrics.values())}
    collection = MetricCollection(dict(metrics), compute_groups=_alike(metrics))
    collection.reset()
    return collection


def _alike(metrics: Mapping[str, Metric]) -> list[list[str]]:
    """Names of metrics that are updated as one: ours, where one update and the same settings make the same states.

    torchmetrics would find such groups by what the states are after the first batch, where metrics of other settings may be equal by accident.
    """
    from secateur.measures.metrics.states import settings_of

    groups: dict[object, list[str]] = {}
    for name, metric in metrics.items():
        own = settings_of(metric)
        groups.setdefault(name if own is None else (type(metric).update, own), []).append(name)
    return list(groups.values())


def _metric(metric: Any) -> Metric:
    """The metric, or the mean of what a plain function gives."""
    from secateur.measures.metrics import MeanOf

    is_one = hasattr(metric, "update") and hasattr(metric, "compute")
    return metric if is_one else MeanOf(metric)


def _update(task: str, metrics: MetricCollection, prediction: Tensor, target: Any) -> None:
    try:
        metrics.update(prediction, target)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(
            f"The metrics of task {task!r} do not take the prediction, {described(prediction)}, with the target, "
            f"{described(target)} ({type(error).__name__}: {error}). Give the Task metrics for these, or decode=."
        ) from error


def _counts_of_all(
    updates: Mapping[str, int], nans: Mapping[str, Tensor], split: Split, device: torch.device
) -> dict[str, tuple[int, int]]:
    """Task to its batches, and those with NaN, of all processes; raises, on every one alike, if a task had no target on any of them."""
    counts = torch.stack(
        [torch.tensor(list(updates.values()), device=device), torch.stack(list(nans.values()))]
    )
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(counts)
    found = dict(zip(updates, map(tuple, counts.T.tolist()), strict=True))
    if missing := [task for task, (batches, _) in found.items() if not batches]:
        raise ValueError(
            f"evaluate: the {split} batches that were used have no target for {missing}; "
            "check the loader, raise limit, or drop the task."
        )
    return found


def _values(task: str, spec: Task, collection: MetricCollection) -> dict[str, float]:
    with warnings.catch_warnings():
        # A process may have no target of a task that others have; the sum over processes is right all the same.
        warnings.filterwarnings("ignore", message="The ``compute`` method of metric", category=UserWarning)
        found = collection.compute()
    return {name: _value(task, name, found.get(str(i))) for i, name in enumerate(spec.metrics)}


def _value(task: str, name: str, value: object) -> float:
    if not isinstance(value, (Tensor, float, int)) or (isinstance(value, Tensor) and value.numel() != 1):
        raise ValueError(
            f"Metric {name!r} of task {task!r} does not compute a scalar; average or choose one value."
        )
    number = float(cast(float, value))
    return number if math.isfinite(number) else math.nan
