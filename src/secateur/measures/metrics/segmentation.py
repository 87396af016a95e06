"""Semantic segmentation: mean intersection over union and pixel accuracy, from one confusion matrix."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from secateur.measures.metrics.resize import Resize, check_target, resized
from secateur.measures.metrics.states import add_settings, add_state
from secateur.problem import check_count


class _Confusion(Metric):
    """Confusion matrix of logits (N, K, h, w) and labels (N, H, W), exact in int64."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    confusion: Tensor  # (K, K): rows are labels, columns predictions
    lowest: Tensor
    highest: Tensor

    def __init__(self, classes: int, ignore_index: int = 255, *, resize: Resize = "bilinear") -> None:
        super().__init__()
        check_count("classes", classes, 2, "a segmentation needs at least 2")
        check_count("ignore_index", ignore_index, None)
        self.classes = classes
        self.ignore_index = ignore_index
        self.resize: Resize = resize
        add_state(self, "confusion", torch.zeros(classes, classes, dtype=torch.int64))
        add_state(self, "lowest", torch.tensor(0), "min")
        add_state(self, "highest", torch.tensor(0), "max")
        add_settings(self, classes, ignore_index, resize=resize)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts one batch.

        Args:
            prediction: (N, K, h, w) logits.
            target: (N, H, W) int64 labels 0..K-1 or ``ignore_index``.

        Raises:
            ValueError: If a shape is wrong, or a label is out of range. A label on an accelerator is checked in
                ``compute``, because a check here would wait for the device.
        """
        check_target(target, (None, None, None), "(N, H, W) labels")
        labels = target.long()
        valid = labels != self.ignore_index
        found = torch.where(valid, labels, 0)
        self.lowest = torch.minimum(self.lowest, _least(found))
        self.highest = torch.maximum(self.highest, -_least(-found))
        if target.device.type == "cpu":
            self._check_labels()
        predicted = resized(prediction, target, self.classes, self.resize).argmax(1)  # (N, H, W)
        cells = found.clamp(0, self.classes - 1) * self.classes + predicted
        counts = self.confusion.new_zeros(self.classes**2)
        counts.scatter_add_(
            0, cells.flatten(), valid.flatten().long()
        )  # unlike bincount, does not wait for the GPU
        self.confusion = self.confusion + counts.view(self.classes, self.classes)

    def _check_labels(self) -> None:
        for label in (int(self.lowest), int(self.highest)):
            if not 0 <= label < self.classes:
                raise ValueError(
                    f"The target has the label {label}, but there are {self.classes} classes (0 to {self.classes - 1}) "
                    f"and ignore_index is {self.ignore_index}; remap the labels or change one of the two."
                )


class MeanIoU(_Confusion):
    """Mean intersection over union in [0, 1], from the confusion matrix of the whole data set.

    The intersection over union of class k is ``C[k,k] / (sum of row k + sum of column k - C[k,k])`` (PASCAL VOC,
    Everingham et al. 2010). With no labelled pixel at all the result is nan.

    Args:
        classes: Number of classes K.
        ignore_index: Label that is left out.
        empty: Which classes the mean runs over. ``"union"``: those that occur in labels or predictions. ``"tp"``:
            those with at least one hit, as in the code of AdaShare, DiSparse and AdapMTL; it flatters, and is
            meant for comparison with their tables. With labels but no hit it is 0.
        resize: How a coarser prediction is brought to the target's size; their code uses ``"nearest"``.

    Raises:
        ValueError: If an argument is out of range or a label is.
    """

    def __init__(
        self,
        classes: int,
        ignore_index: int = 255,
        empty: Literal["union", "tp"] = "union",
        *,
        resize: Resize = "bilinear",
    ) -> None:
        super().__init__(classes, ignore_index, resize=resize)
        if empty not in ("union", "tp"):
            raise ValueError(f"empty is {empty!r}; choose 'union' or 'tp'.")
        self.empty = empty

    def compute(self) -> Tensor:
        """The mean over classes; a float64 scalar."""
        self._check_labels()
        hits = self.confusion.diagonal().double()  # (K,)
        union = self.confusion.sum(0) + self.confusion.sum(1) - hits
        counted = hits > 0 if self.empty == "tp" else union > 0
        mean = (hits / union.clamp(min=1)).sum() / counted.sum().clamp(min=1)
        return torch.where(self.confusion.sum() > 0, mean, torch.nan)


class PixelAccuracy(_Confusion):
    """Share of the labelled pixels of the whole data set whose class is right, in [0, 1]; nan without any.

    The code of AdaShare averages the accuracies of batches instead, which depends on how the batches are cut.

    Args:
        classes: Number of classes K.
        ignore_index: Label that is left out.
        resize: How a coarser prediction is brought to the target's size.

    Raises:
        ValueError: If an argument is out of range or a label is.
    """

    def compute(self) -> Tensor:
        """Hits over labelled pixels; a float64 scalar."""
        self._check_labels()
        return self.confusion.diagonal().sum().double() / self.confusion.sum()


def _least(labels: Tensor) -> Tensor:
    """The smallest of the labels and 0; 0 for an empty tensor."""
    return torch.cat([labels.flatten(), labels.new_zeros(1)]).min()
