"""Dense prediction tasks: their losses, metrics and pictures, and the Data made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from secateur.data.augment import Sample, nearest
from secateur.data.data import Data
from secateur.data.fields import IGNORE
from secateur.data.loading import Encode
from secateur.data.making import PRETRAINED_MEAN, PRETRAINED_STD, Loading, TaskOf, make_data
from secateur.data.pictures import depth_picture, map_picture, normal_picture, segmentation_picture
from secateur.measures import metrics
from secateur.problem import Task, check_choice

if TYPE_CHECKING:
    from torchmetrics import Metric

Measures = Literal["adapmtl", "less_is_more"]


def dense_data(
    splits: Mapping[str, Dataset[Sample]],
    tasks: Sequence[str],
    loading: Loading,
    *,
    classes: Sequence[str],
    mean: tuple[float, float, float] = PRETRAINED_MEAN,
    std: tuple[float, float, float] = PRETRAINED_STD,
    measures: Measures = "adapmtl",
    others: Mapping[str, TaskOf] | None = None,
    encode: Mapping[str, Encode] | None = None,
) -> Data:
    """Samples to the parts of a problem; arguments that are not here as of ``making.make_data``.

    Args:
        splits: ``train``, ``val`` and ``test``.
        tasks: Of seg, normal, depth, edge, keypoint, and ``others``.
        loading: How.
        classes: Names of the classes of seg.
        mean: Of RGB in [0, 1].
        std: Of RGB in [0, 1].
        measures: Those of :func:`dense_tasks`.
        others: More tasks, or other forms of the known ones: name to Task and the channels its head needs.
        encode: Task to what makes its targets of its field, after augmentation.

    Raises:
        ValueError: If a task is unknown or given twice, or a number is out of range.
    """
    known = {**dense_tasks(len(classes), measures), **(others or {})}
    check_tasks(tasks, tuple(known))
    names = {"seg": tuple(classes)} if "seg" in tasks else {}
    chosen = {name: known[name] for name in tasks}
    return make_data(splits, chosen, loading, classes=names, mean=mean, std=std, encode=encode)


def dense_tasks(classes: int, measures: Measures = "adapmtl") -> dict[str, TaskOf]:
    """Every dense task by the field of a sample that it predicts, with the channels its head needs.

    Args:
        classes: Of seg.
        measures: ``"adapmtl"``: mean IoU and pixel accuracy, five statistics of the angle, five of depth.
            ``"less_is_more"``: one a task, IoU by image, cosine similarity and mean absolute error.

    Raises:
        ValueError: If ``measures`` is unknown.
    """
    check_choice("measures", measures, Measures)
    known = {
        "seg": (segmentation(classes), classes),
        "normal": (surface_normal(), 3),
        "depth": (depth(), 1),
        "edge": (edge(), 1),
        "keypoint": (keypoint(), 1),
    }
    if measures == "less_is_more":
        single = {
            "seg": {"iou": metrics.ImageIoU(IGNORE)},
            "normal": {"cosine": metrics.CosineSimilarity()},
            "depth": {"mae": metrics.DepthError(statistic="abs")},
        }
        known |= {
            name: (replace(known[name][0], metrics=found), known[name][1]) for name, found in single.items()
        }
    return known


def check_tasks(tasks: Sequence[str], known: Sequence[str]) -> None:
    """Raises ValueError unless ``tasks`` are some of ``known``, each at most once."""
    if not tasks or len(set(tasks)) < len(tasks) or not set(tasks) <= set(known):
        raise ValueError(f"tasks={list(tasks)}; give one or more of {list(known)}, each once.")


def segmentation(classes: int) -> Task:
    """Semantic segmentation: logits (N, classes, h, w), labels int64 (N, H, W), 255 = ignore."""
    return Task(
        segmentation_loss,
        {
            "miou": metrics.MeanIoU(classes, ignore_index=IGNORE),
            "pixel_accuracy": metrics.PixelAccuracy(classes, ignore_index=IGNORE),
        },
        picture=segmentation_picture,
        count=segmentation_count,
    )


def surface_normal() -> Task:
    """Surface normals: (N, 3, h, w) of any length, target unit vectors, zero = invalid; angles in degrees."""
    within = {f"within_{d}": metrics.NormalAngle(statistic="within", degrees=d) for d in (11.25, 22.5, 30)}
    measured = {
        "mean": metrics.NormalAngle(statistic="mean"),
        "median": metrics.NormalAngle(statistic="median"),
        **within,
    }
    return Task(normal_loss, measured, picture=normal_picture, count=normal_count)


def depth() -> Task:
    """Depth: (N, 1, h, w) metres, target 0 = invalid."""
    deltas = {f"delta_{k}": metrics.DepthError(statistic="delta", power=k) for k in (1, 2, 3)}
    measured = {
        "abs": metrics.DepthError(statistic="abs"),
        "rel": metrics.DepthError(statistic="rel"),
        **deltas,
    }
    return mapped(0.0, measured, depth_picture)


def edge() -> Task:
    """Edge strength: (N, 1, h, w), target in [0, 1], -1 = invalid."""
    return mapped(-1.0, {"error": metrics.MapError()}, map_picture)


def keypoint() -> Task:
    """Keypoint strength: (N, 1, h, w), target in [0, 1], -1 = invalid."""
    return mapped(-1.0, {"error": metrics.MapError()}, map_picture)


def mapped(above: float, measured: Mapping[str, Metric], picture: Callable[[Tensor], Tensor]) -> Task:
    """A map of values, (N, 1, h, w), trained on its absolute error where the target lies above ``above``."""
    count = partial(masked_count, above=above)
    return Task(partial(masked_l1, above=above), measured, picture=picture, count=count)


def segmentation_loss(prediction: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the labelled pixels of the target at the prediction's resolution; 0 if there is none.

    Args:
        prediction: Logits (N, classes, h, w).
        target: Labels, int64 (N, H, W), 255 = ignore.
        weights: Float (classes,): how much a pixel of each class counts in the mean; None counts all alike.
    """
    classes = prediction.shape[1]
    labels = nearest(target, _grid(prediction)).flatten()  # (N h w)
    # in 1-d the CUDA kernel is deterministic
    logits = _wide(prediction).permute(0, 2, 3, 1).reshape(-1, classes)
    weights = None if weights is None else weights.to(logits)
    total = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE, reduction="sum")
    return total / segmentation_count(prediction, target, weights).clamp(min=1 if weights is None else 1e-12)


def segmentation_count(prediction: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """How many pixels :func:`segmentation_loss` is a mean over, or the sum of their weights."""
    labels = nearest(target, _grid(prediction)).flatten()
    valid = labels != IGNORE
    if weights is None:
        return valid.sum()
    weights = weights.to(prediction.device, torch.float32)
    return weights[labels.where(valid, 0)].where(valid, 0.0).sum()


def normal_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - mean cosine over the valid pixels of the target at the prediction's resolution; 0 if there is none."""
    truth = _fitted(prediction, target)
    valid = truth.abs().sum(1) > 0
    cosine = (F.normalize(_wide(prediction), dim=1) * truth).sum(1)  # (N, h, w)
    return torch.where(valid, 1.0 - cosine, 0.0).sum() / _count(valid)


def normal_count(prediction: Tensor, target: Tensor) -> Tensor:
    """How many pixels :func:`normal_loss` is a mean over."""
    return (_fitted(prediction, target).abs().sum(1) > 0).sum()


def squared_errors(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """The tasks, those trained on the absolute error of a map (depth, edges, keypoints) on its squared error instead."""
    found = dict(tasks)
    for name, task in tasks.items():
        if isinstance(task.loss, partial) and task.loss.func is masked_l1:
            found[name] = replace(task, loss=partial(masked_squared, **task.loss.keywords))
    return found


def masked_l1(prediction: Tensor, target: Tensor, above: float) -> Tensor:
    """Mean absolute error where the target at the prediction's resolution lies above ``above``; 0 if nowhere."""
    truth = _fitted(prediction, target)
    valid = truth > above
    return torch.where(valid, (_wide(prediction) - truth).abs(), 0.0).sum() / _count(valid)


def masked_squared(prediction: Tensor, target: Tensor, above: float) -> Tensor:
    """Mean squared error, where :func:`masked_l1` has the absolute one."""
    truth = _fitted(prediction, target)
    valid = truth > above
    return torch.where(valid, (_wide(prediction) - truth).square(), 0.0).sum() / _count(valid)


def masked_count(prediction: Tensor, target: Tensor, above: float) -> Tensor:
    """How many values :func:`masked_l1` is a mean over."""
    return (_fitted(prediction, target) > above).sum()


def _wide(prediction: Tensor) -> Tensor:
    """In float32 at least."""
    return prediction.to(torch.promote_types(prediction.dtype, torch.float32))


def _fitted(prediction: Tensor, target: Tensor) -> Tensor:
    truth = nearest(target, _grid(prediction))
    if truth.shape != prediction.shape:
        raise ValueError(
            f"The prediction is {tuple(prediction.shape)}, the target {tuple(target.shape)}; give the head {target.shape[1]} output channels."
        )
    return truth


def _grid(prediction: Tensor) -> tuple[int, int]:
    return prediction.shape[-2], prediction.shape[-1]


def _count(valid: Tensor) -> Tensor:
    return valid.sum().clamp(min=1)
