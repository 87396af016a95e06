"""Pictures of test images for the report: input, prediction and truth per task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from secateur.data import Data
from secateur.problem import Batch, Input, Problem, to_device
from secateur.storage import write_aside


@torch.no_grad()
def save_samples(problem: Problem, data: Data, path: Path, count: int = 6) -> Path:
    """Writes ``count`` evenly spaced test images with what the model makes of them, as uint8 pictures in an npz.

    Where each task has images of its own, the tasks take turns.

    Keys: ``input/i``, ``<task>/truth/i``, ``<task>/prediction/i``, each (H, W, 3). Where the input is no image, none.
    """
    model, pictures = problem.model, dict[str, Any]()
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    for number, (x, targets) in enumerate(_spread(data, count) if data.mean else ()):
        image = x if isinstance(x, Tensor) else next(iter(x.values()))
        pictures[f"input/{number}"] = _denormalised(image[0], data)
        predictions = model(to_device(x, device))
        for task, target in targets.items():
            draw = problem.tasks[task].picture
            if draw is not None:
                prediction = predictions[task].float().cpu()
                if prediction.dim() == 4:
                    prediction = interpolate(prediction, target.shape[-2:], mode="bilinear")
                pictures[f"{task}/truth/{number}"] = draw(target[0]).numpy()
                pictures[f"{task}/prediction/{number}"] = draw(prediction[0]).numpy()
    model.train(training)

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            np.savez_compressed(file, **pictures)

    return write_aside(path, write)


def _spread(data: Data, count: int) -> Iterator[Batch]:
    """Evenly spaced images of the test split with their targets, as batches of one; every task's in turn."""
    totals: dict[str, int] = {}
    for x, targets in data.test:
        for owner, part, _ in _by_owner(x, targets):
            totals[owner] = totals.get(owner, 0) + len(part)
    chosen: dict[str, set[int]] = {}
    for turn, (owner, total) in enumerate(totals.items()):
        wanted = min(total, len(range(turn, count, len(totals))))
        chosen[owner] = {round(i * (total - 1) / max(wanted - 1, 1)) for i in range(wanted)}
    seen = dict.fromkeys(totals, 0)
    for x, targets in data.test:
        for owner, part, own in _by_owner(x, targets):
            for row in range(len(part)):
                if seen[owner] + row in chosen[owner]:
                    image = part[row : row + 1]
                    yield {owner: image} if owner else image, {t: v[row : row + 1] for t, v in own.items()}
            seen[owner] += len(part)


def _by_owner(x: Input, targets: Mapping[str, Tensor]) -> list[tuple[str, Tensor, Mapping[str, Tensor]]]:
    """Images by the task that they are for, none if for all, with their targets."""
    if isinstance(x, Tensor):
        return [("", x, targets)]
    return [(task, part, {task: targets[task]}) for task, part in x.items() if task in targets]


def _denormalised(image: Tensor, data: Data) -> np.ndarray[Any, Any]:
    mean, std = torch.tensor(data.mean).view(3, 1, 1), torch.tensor(data.std).view(3, 1, 1)
    return ((image * std + mean).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
