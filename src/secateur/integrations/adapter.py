"""A model of transformers as a Problem's: it takes keywords and returns an object with fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from secateur.problem import Batch, Call, Task

OWN: dict[str, Task] = {"loss": Task(lambda prediction, _: prediction)}
"""The one task of a model that computes its own loss."""


class NoFieldError(ValueError):
    """The output of a model lacks what is asked of it."""


def fields(tasks: Mapping[str, Task] | None) -> Call:
    """How such a model is called: the batch as keywords, and of what it returns the fields that are tasks'."""

    def call(model: nn.Module, batch: Any) -> dict[str, Tensor]:
        outputs = model(**batch)
        return {task: field_of(outputs, task) for task in tasks or OWN}

    return call


def batch_of(found: Any, tasks: Mapping[str, Task] | None) -> Batch:
    """A batch of the trainer's loader as a Problem's."""
    if not isinstance(found, Mapping):
        raise ValueError(f"Prune: the train loader gave {type(found).__name__}. {form_of(tasks)}")
    x = dict(cast(Mapping[str, Any], found))
    targets = targets_of(x, tasks) if tasks else {"loss": torch.zeros(())}
    if isinstance(
        x.get("labels"), Mapping
    ):  # for a loss function; the Trainer takes them out of the batch too
        del x["labels"]
    if not targets:
        raise ValueError(
            f"Prune: the batch has the columns {sorted(x)}. {form_of(tasks)} Columns that the model's forward does not name are "
            "removed unless remove_unused_columns=False."
        )
    return x, targets


def targets_of(batch: Mapping[str, Any], tasks: Mapping[str, Task]) -> dict[str, Tensor]:
    """Of a batch the columns of the tasks' names, or its ``labels``: ``{task: target}``, or a single task's target."""
    labels: Any = batch.get("labels")
    columns = labels if isinstance(labels, Mapping) else batch
    found: dict[str, Tensor] = {task: columns[task] for task in tasks if task in columns}
    if not found and len(tasks) == 1 and "labels" in batch:
        found[next(iter(tasks))] = batch["labels"]
    return found


def field_of(outputs: Any, name: str) -> Tensor:
    """The field of a model's output that is called so; ValueError where there is no such tensor."""
    found = outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
    if not isinstance(found, Tensor):
        names = sorted(outputs) if isinstance(outputs, Mapping) else []
        raise NoFieldError(
            f"Prune: the model returned {type(outputs).__name__} with {names} and no tensor {name!r}; "
            + (
                "give batches with labels, or give tasks."
                if name in OWN
                else "name its outputs after the tasks."
            )
        )
    return found


def form_of(tasks: Mapping[str, Task] | None) -> str:
    """What loader and model must be, for messages."""
    wanted = (
        f"an output with {sorted(tasks)}, and the batch has columns of these names"
        if tasks
        else "an output with its loss"
    )
    return f"The train loader gives {{column: tensor}}, and the model takes the columns as keywords and returns {wanted}."
