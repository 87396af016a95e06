"""Pictures of test images for the report: input, prediction and truth per task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secateur.data.data import Data
from secateur.files import write_aside
from secateur.problem import Problem, to_device


@torch.no_grad()
def save_samples(problem: Problem, data: Data, path: Path, count: int = 6) -> Path:
    """Writes ``count`` evenly spaced test images with what the model makes of them, as uint8 pictures in an npz.

    Keys: ``input/i``, ``<task>/truth/i``, ``<task>/prediction/i``, each (H, W, 3). Where the input is no image, none.
    """
    model, pictures = problem.model, dict[str, Any]()
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    for number, (image, targets) in enumerate(_spread(data, count) if data.mean else ()):
        pictures[f"input/{number}"] = _denormalised(image, data)
        predictions = model(to_device(image[None], device))
        for task, target in targets.items():
            draw = problem.tasks[task].picture
            if draw is not None:
                resized = torch.nn.functional.interpolate(
                    predictions[task].float().cpu(), target.shape[-2:], mode="bilinear"
                )
                pictures[f"{task}/truth/{number}"] = draw(target).numpy()
                pictures[f"{task}/prediction/{number}"] = draw(resized[0]).numpy()
    model.train(training)

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            np.savez_compressed(file, **pictures)

    return write_aside(path, write)


def _spread(data: Data, count: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Evenly spaced images of the test split with their targets."""
    total = sum(len(x) for x, _ in data.test)
    chosen = {round(i * (total - 1) / max(count - 1, 1)) for i in range(min(count, total))}
    index = 0
    for x, targets in data.test:
        for row in range(len(x)):
            if index in chosen:
                assert isinstance(x, Tensor)
                yield x[row], {task: target[row] for task, target in targets.items()}
            index += 1


def _denormalised(image: Tensor, data: Data) -> np.ndarray[Any, Any]:
    mean, std = torch.tensor(data.mean).view(3, 1, 1), torch.tensor(data.std).view(3, 1, 1)
    return ((image * std + mean).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
