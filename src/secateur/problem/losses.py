"""The tasks' losses of one batch, of those tasks that have a valid label in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from secateur.problem.forms import lost

if TYPE_CHECKING:
    from secateur.problem.problem import Task

_PROBES = (0.0, 0.25, 0.5)  # what a prediction is replaced by: its sign and its scale may matter to a loss


def task_losses(
    predictions: Mapping[str, Tensor], targets: Mapping[str, Any], tasks: Mapping[str, Task]
) -> dict[str, Tensor]:
    """Task to its loss, a scalar; a task whose labels are all ignored is left out.

    Args:
        predictions: ``{task: prediction}``, of the tasks that have a target.
        targets: ``{task: target}``.
        tasks: Their losses.

    Raises:
        ValueError: If a loss does not take prediction and target, or gives no scalar; it names the task.
    """
    found = {t: lost(t, tasks[t].loss, p, targets[t]) for t, p in predictions.items()}
    if not found:
        return found
    device = next(iter(found.values())).device
    wrong = torch.stack([loss.detach().float().to(device) for loss in found.values()]).isnan().tolist()
    return {
        t: loss
        for (t, loss), bad in zip(found.items(), wrong, strict=True)
        if not (bad and unlabelled(tasks[t].loss, predictions[t], targets[t]))
    }


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
