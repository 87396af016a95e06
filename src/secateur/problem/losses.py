"""The tasks' losses of one batch, of those tasks that have a valid label in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from secateur.problem.forms import lost

if TYPE_CHECKING:
    from secateur.problem.problem import Task

_PROBES = (0.0, 0.25, 0.5)  # what a prediction is replaced by: its sign and its scale may matter to a loss


def task_losses(
    predictions: Mapping[str, Tensor],
    targets: Mapping[str, Any],
    tasks: Mapping[str, Task],
    *,
    joined: bool = False,
) -> dict[str, Tensor]:
    """Task to its loss, a scalar; a task whose labels are all ignored is left out: its loss is NaN, or a zero without a gradient.

    Args:
        predictions: ``{task: prediction}``, of the tasks that have a target.
        targets: ``{task: target}``.
        tasks: Their losses.
        joined: The predictions are those of several processes, of which each has the history of its own.

    Raises:
        ValueError: If a loss does not take prediction and target, gives no scalar, or lets no gradient through; it names the task.
    """
    found = {t: lost(t, tasks[t].loss, p, targets[t]) for t, p in predictions.items()}
    if not found:
        return found
    device = next(iter(found.values())).device
    values = torch.stack([loss.detach().float().to(device) for loss in found.values()]).tolist()
    return {
        t: loss
        for (t, loss), value in zip(found.items(), values, strict=True)
        if not (math.isnan(value) and unlabelled(tasks[t].loss, predictions[t], targets[t]))
        and not (_is_cut_off(loss, predictions[t]) and not joined and _is_nothing(t, value))
    }


def _is_cut_off(loss: Tensor, prediction: Tensor) -> bool:
    return torch.is_grad_enabled() and prediction.requires_grad and not loss.requires_grad


def _is_nothing(task: str, value: float) -> bool:
    """True for the zero of a batch in which no label is valid; ValueError for a loss."""
    if value == 0.0:
        return True
    raise ValueError(
        f"The loss of task {task!r} depends on no parameter that is trained, though its prediction does; does it detach or round the "
        "prediction, as argmax does?"
    )


@torch.no_grad()
def unlabelled(function: Callable[[Any, Any], Any], prediction: Tensor, target: Any) -> bool:
    """Whether no label is valid: ``function``, a mean over the valid ones, is NaN whatever the prediction.

    A target that is NaN in part is another matter: there the loss leaves invalid labels in.
    """
    if isinstance(target, Tensor) and target.is_floating_point():
        wrong = target.isnan()
        if bool(wrong.any()) and not bool(wrong.all()):
            return False
    draw = torch.linspace(-1, 1, max(prediction.numel(), 1), device=prediction.device)
    draw = draw[: prediction.numel()].view(prediction.shape)
    probes = [torch.full_like(prediction, value) for value in _PROBES] + [draw.to(prediction.dtype)]
    return all(bool(torch.as_tensor(function(probe, target)).isnan().any()) for probe in probes)
