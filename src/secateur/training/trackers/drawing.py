"""Pictures of validation images: prediction and truth, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from secateur.problem import Problem, looking, to_device
from secateur.training.trackers.backend import Picture

_LOOKED = 8  # batches that are looked through for tasks with inputs of their own


@torch.no_grad()
def drawn(problem: Problem, count: int) -> Iterator[tuple[str, Picture]]:
    """The first ``count`` validation images of each task that has a ``picture``: name, and (H, 2·W, 3), prediction left of truth.

    Modes and random state are left as they were.
    """
    wanted = {name for name, task in problem.tasks.items() if task.picture is not None}
    if not wanted or problem.val is None:
        return
    model = problem.model
    device = next(model.parameters()).device
    found: list[tuple[str, Picture]] = []
    with looking(model):
        model.eval()
        for x, targets in islice(problem.batches("val", once=True), _LOOKED):
            predictions = problem.predict(to_device(x, device), targets) if targets else {}
            for name in sorted(wanted & predictions.keys()):
                pairs = zip(*_same_size(predictions[name], targets[name]), strict=True)
                found += [
                    (f"{name}/{i}", _pair(problem.tasks[name].picture, p, t))
                    for i, (p, t) in enumerate(islice(pairs, count))
                ]
                wanted.remove(name)
            if not wanted:
                break
    yield from found


def _same_size(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    prediction = prediction.float().cpu()
    if prediction.dim() == 4 and prediction.shape[-2:] != target.shape[-2:]:
        prediction = interpolate(prediction, target.shape[-2:], mode="bilinear")
    return prediction, target.cpu()


def _pair(draw: Any, prediction: Tensor, target: Tensor) -> Picture:
    images = [np.asarray(draw(value), dtype=np.uint8) for value in (prediction, target)]
    return np.concatenate(images, axis=1)
