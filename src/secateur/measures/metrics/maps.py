"""Edge and keypoint strength: mean absolute error of a map."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from secateur.measures.metrics.resize import Resize, check_target, resized
from secateur.measures.metrics.states import add_settings, add_state


class MapError(Metric):
    """Mean absolute error over all valid pixels of the data set; nan without any.

    The measure of the edge and keypoint tasks of Tiny-Taskonomy (AdaShare, Sun et al. 2020; AdapMTL, Table 7).

    Args:
        resize: How a coarser prediction is brought to the target's size.

    Raises:
        ValueError: If ``resize`` is unknown.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    absolute: Tensor
    pixels: Tensor

    def __init__(self, *, resize: Resize = "bilinear") -> None:
        super().__init__()
        self.resize: Resize = resize
        add_state(self, "absolute", torch.tensor(0.0, dtype=torch.float64))
        add_state(self, "pixels", torch.tensor(0))
        add_settings(self, resize=resize)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts one batch.

        Args:
            prediction: (N, 1, h, w).
            target: (N, 1, H, W); -1 marks an invalid pixel.

        Raises:
            ValueError: If a shape is wrong.
        """
        check_target(target, (None, 1, None, None), "(N, 1, H, W), -1 = invalid")
        valid = target != -1
        error = (resized(prediction, target, 1, self.resize).double() - target).abs()
        self.absolute = self.absolute + torch.where(valid, error, 0.0).sum()
        self.pixels = self.pixels + valid.sum()

    def compute(self) -> Tensor:
        """The mean absolute error; a float64 scalar."""
        return self.absolute / self.pixels
