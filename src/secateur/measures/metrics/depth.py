"""Depth: absolute error, relative error, and the share of pixels within a ratio."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from secateur.measures.metrics.resize import Resize, check_target, resized
from secateur.measures.metrics.states import add_settings, add_state

_POWERS = (1, 2, 3)


class DepthError(Metric):
    """Statistics of predicted depth p against true depth g over all valid pixels of the data set.

    All statistics share one set of sums (one compute group). Without a valid pixel every one is nan; so it is with
    a prediction that is not finite. The measures are those of Eigen et al. 2014.

    Args:
        statistic: ``"abs"``: mean of ``|p - g|`` in metres. ``"rel"``: mean of ``|p - g| / g``. ``"delta"``: share of
            pixels with ``max(p / g, g / p) < 1.25 ** power``, in [0, 1].
        power: 1, 2 or 3 with ``"delta"``; None otherwise.
        resize: How a coarser prediction is brought to the target's size.

    Raises:
        ValueError: If an argument is not one of these.
    """

    is_differentiable = False
    full_state_update = False
    absolute: Tensor
    relative: Tensor
    within: Tensor
    pixels: Tensor

    def __init__(
        self,
        statistic: Literal["abs", "rel", "delta"],
        power: int | None = None,
        *,
        resize: Resize = "bilinear",
    ) -> None:
        super().__init__()
        if statistic not in ("abs", "rel", "delta"):
            raise ValueError(f"statistic is {statistic!r}; choose 'abs', 'rel' or 'delta'.")
        if isinstance(power, bool) or power not in (_POWERS if statistic == "delta" else (None,)):
            raise ValueError(
                f"statistic is {statistic!r} and power is {power}; give 1, 2 or 3 with 'delta' only."
            )
        self.statistic = statistic
        self.power = power
        self.resize: Resize = resize
        # torchmetrics refuses to set this on an instance, but here the direction is the instance's.
        object.__setattr__(self, "higher_is_better", statistic == "delta")
        add_state(self, "absolute", torch.tensor(0.0, dtype=torch.float64))
        add_state(self, "relative", torch.tensor(0.0, dtype=torch.float64))
        add_state(self, "within", torch.zeros(len(_POWERS), dtype=torch.int64))
        add_state(self, "pixels", torch.tensor(0))
        add_settings(self, resize=resize)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts one batch.

        Args:
            prediction: (N, 1, h, w) metres. For the ratio alone it is clamped at 1e-6: a negative or zero depth is
                never within a ratio.
            target: (N, 1, H, W) metres; 0 marks an invalid pixel.

        Raises:
            ValueError: If a shape is wrong.
        """
        check_target(target, (None, 1, None, None), "(N, 1, H, W) metres")
        valid = target > 0
        mine = resized(prediction, target, 1, self.resize).double()
        truth = torch.where(valid, target.double(), 1.0)
        error = torch.where(valid, (mine - truth).abs(), 0.0)
        positive = mine.clamp(min=1e-6)
        ratio = torch.maximum(positive / truth, truth / positive)
        hits = [(valid & (ratio < 1.25**power)).sum() for power in _POWERS]
        self.absolute = self.absolute + error.sum()
        self.relative = self.relative + (error / truth).sum()
        self.within = self.within + torch.stack(hits)
        self.pixels = self.pixels + valid.sum()

    def compute(self) -> Tensor:
        """The statistic; a float64 scalar."""
        if self.power is not None:
            broken = 0.0 * self.absolute  # 0, or nan with a prediction that is not finite
            return (self.within[self.power - 1] + broken) / self.pixels
        return (self.absolute if self.statistic == "abs" else self.relative) / self.pixels
