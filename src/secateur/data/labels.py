"""Labels of whole images: the tasks of a yes or no, and of one class of several."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from secateur.data.making import TaskOf
from secateur.data.pictures import class_picture, yes_or_no_picture
from secateur.measures import metrics
from secateur.problem import Task

NONE = -1
"""The label of an image that has none."""


def binary() -> TaskOf:
    """Yes or no: a logit (N, 1), labels int64 (N,), 0 or 1, -1 = none."""
    accuracy = {"accuracy": metrics.Accuracy()}
    return Task(binary_loss, accuracy, picture=yes_or_no_picture, count=labelled), 1


def classification(names: Sequence[str]) -> TaskOf:
    """One class of several, by name: logits (N, classes), labels int64 (N,), -1 = none."""
    picture = partial(class_picture, names=tuple(names))
    accuracy = {"accuracy": metrics.Accuracy()}
    return Task(classification_loss, accuracy, picture=picture, count=labelled), len(names)


def binary_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy of logits over the images with a label; 0 if there is none."""
    _check(prediction, target, 1)
    valid = target != NONE
    truth = torch.where(valid, target, 0).float()
    entropy = F.binary_cross_entropy_with_logits(prediction[:, 0].float(), truth, reduction="none")
    return torch.where(valid, entropy, 0.0).sum() / valid.sum().clamp(min=1)


def classification_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of logits over the images with a label; 0 if there is none."""
    _check(prediction, target, None)
    total = F.cross_entropy(prediction.float(), target, ignore_index=NONE, reduction="sum")
    return total / (target != NONE).sum().clamp(min=1)


def labelled(_: Tensor, target: Tensor) -> Tensor:
    """How many images have a label, which these losses are means over."""
    return (target != NONE).sum()


def _check(prediction: Tensor, target: Tensor, channels: int | None) -> None:
    if prediction.ndim != 2 or len(prediction) != len(target) or channels not in (None, prediction.shape[1]):
        raise ValueError(
            f"The prediction is {tuple(prediction.shape)}, the target {tuple(target.shape)}; a label of the whole image "
            f"needs a head that returns (N, {channels or 'classes'}) logits."
        )
