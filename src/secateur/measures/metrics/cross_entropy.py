"""Semantic segmentation by the error it is trained with: cross-entropy per labelled pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from secateur.measures.metrics.resize import Resize, check_target, resized
from secateur.measures.metrics.states import add_settings, add_state
from secateur.problem import check_count


class CrossEntropy(Metric):
    """Mean cross-entropy over all labelled pixels of the data set, each weighted by its class; nan without any.

    The measure of the segmentation task of Tiny-Taskonomy (AdaShare, Sun et al. 2020; AdapMTL, Table 7).

    Args:
        classes: Number of classes.
        weights: One a class, not negative; None weighs all alike.
        ignore_index: Label that is left out.
        resize: How a coarser prediction is brought to the target's size.

    Raises:
        ValueError: If there are not ``classes`` weights, one is negative, or ``resize`` is unknown.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    total: Tensor
    weight: Tensor
    weights: Tensor

    def __init__(
        self,
        classes: int,
        weights: Sequence[float] | None = None,
        ignore_index: int = 255,
        *,
        resize: Resize = "bilinear",
    ) -> None:
        super().__init__()
        check_count("classes", classes)
        check_count("ignore_index", ignore_index, None)
        given = [1.0] * classes if weights is None else list(weights)
        if len(given) != classes or not all(w >= 0 for w in given):
            raise ValueError(f"weights is {given}; give {classes} numbers, none negative.")
        self.classes = classes
        self.ignore_index = ignore_index
        self.resize: Resize = resize
        add_state(self, "total", torch.tensor(0.0, dtype=torch.float64))
        add_state(self, "weight", torch.tensor(0.0, dtype=torch.float64))
        # a state that no update changes, so that metrics with other weights are kept apart
        add_state(self, "weights", torch.tensor(given, dtype=torch.float64), "max")
        add_settings(self, ignore_index, resize=resize)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts one batch.

        Args:
            prediction: (N, K, h, w) logits.
            target: (N, H, W) int64 labels 0..K-1 or ``ignore_index``.

        Raises:
            ValueError: If a shape is wrong.
        """
        check_target(target, (None, None, None), "(N, H, W) labels")
        logits = resized(prediction, target, self.classes, self.resize).double()
        valid = target != self.ignore_index
        labels = torch.where(valid, target, 0)
        entropy = F.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0].neg()  # (N, H, W)
        weight = torch.where(valid, self.weights[labels], 0.0)
        self.total = self.total + torch.where(valid, weight * entropy, 0.0).sum()
        self.weight = self.weight + weight.sum()

    def compute(self) -> Tensor:
        """The mean; a float64 scalar."""
        return self.total / self.weight
