"""Classification of whole images as a task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from secateur.problem import Task

_SIZE = (96, 64)  # of the picture, width and height


def classification(classes: Sequence[str]) -> Task:
    """Logits (N, classes), labels int64 (N,); cross-entropy and top-1 accuracy.

    Args:
        classes: Their names, for the pictures of a report.
    """
    names = tuple(classes)

    def picture(x: Tensor) -> Tensor:
        return label_picture(names[int(x.argmax() if x.is_floating_point() else x)])

    accuracy = MulticlassAccuracy(num_classes=max(2, len(names)), average="micro")
    return Task(classification_loss, {"accuracy": accuracy}, picture=picture)


def classification_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(prediction.float(), target)


def label_picture(text: str) -> Tensor:
    """``text`` in white on dark, (64, 96, 3) uint8."""
    image = Image.new("RGB", _SIZE, (40, 40, 40))
    ImageDraw.Draw(image).text((4, _SIZE[1] // 2 - 6), text, fill=(255, 255, 255))
    return torch.from_numpy(np.asarray(image).copy())
