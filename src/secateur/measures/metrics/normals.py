"""Surface normals: the angle between predicted and true normal."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from secateur.measures.metrics.resize import Resize, check_target, resized
from secateur.measures.metrics.states import add_settings, add_state

_BINS_PER_DEGREE = 100
_BINS = 180 * _BINS_PER_DEGREE


class NormalAngle(Metric):
    """Statistics of the angle between normals over all valid pixels of the data set, in degrees.

    The states are a sum, a count and a histogram with bins of 0.01 degree, so memory does not grow with the data,
    and every statistic shares them (one compute group). The mean is exact, the median good to 0.005 degree, and the
    share within a threshold is exact, because thresholds lie on the edges of bins. Without a valid pixel every
    statistic is nan; so it is with a prediction that is not finite. A zero prediction counts as 90 degrees.

    Args:
        statistic: ``"mean"`` or ``"median"`` angle in degrees, or the share of pixels ``"within"`` ``degrees``
            (at most that angle), in [0, 1]. The usual thresholds are 11.25, 22.5 and 30 (Eigen & Fergus 2015).
        degrees: The threshold of ``"within"``, a multiple of 0.01 up to 180; None otherwise.
        space: ``"decoded"``: the angle between the unit normals themselves. ``"raw_uint8"``: the angle between their
            undecoded PNG values, which lie in the positive octant, proportional to ``n + 1``. The published NYUv2
            tables of AdaShare, DiSparse and AdapMTL are computed there, which makes angles about 2 to 3 times smaller.
            Predictions and targets are given decoded in both cases.
        resize: How a coarser prediction is brought to the target's size.

    Raises:
        ValueError: If an argument is not one of these.
    """

    is_differentiable = False
    full_state_update = False
    angle_sum: Tensor
    histogram: Tensor

    def __init__(
        self,
        statistic: Literal["mean", "median", "within"],
        degrees: float | None = None,
        space: Literal["decoded", "raw_uint8"] = "decoded",
        *,
        resize: Resize = "bilinear",
    ) -> None:
        super().__init__()
        if statistic not in ("mean", "median", "within"):
            raise ValueError(f"statistic is {statistic!r}; choose 'mean', 'median' or 'within'.")
        if (statistic == "within") != (degrees is not None):
            raise ValueError(
                f"statistic is {statistic!r} and degrees is {degrees}; give degrees with 'within' only."
            )
        if space not in ("decoded", "raw_uint8"):
            raise ValueError(f"space is {space!r}; choose 'decoded' or 'raw_uint8'.")
        self.statistic = statistic
        self.bins_within = 0 if degrees is None else _bins(degrees)
        self.space = space
        self.resize: Resize = resize
        # torchmetrics refuses to set this on an instance, but here the direction is the instance's.
        object.__setattr__(self, "higher_is_better", statistic == "within")
        add_state(self, "angle_sum", torch.tensor(0.0, dtype=torch.float64))
        add_state(self, "histogram", torch.zeros(_BINS, dtype=torch.int64))
        add_settings(self, int(space == "raw_uint8"), resize=resize)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts one batch.

        Args:
            prediction: (N, 3, h, w), of any length.
            target: (N, 3, H, W) unit normals; the zero vector marks an invalid pixel.

        Raises:
            ValueError: If a shape is wrong.
        """
        check_target(target, (None, 3, None, None), "(N, 3, H, W) unit normals")
        valid = target.abs().sum(1) > 0  # (N, H, W)
        mine = F.normalize(resized(prediction, target, 3, self.resize).double(), dim=1)
        truth = F.normalize(target.double(), dim=1)
        if self.space == "raw_uint8":
            mine, truth = F.normalize(mine + 1.0, dim=1), F.normalize(truth + 1.0, dim=1)
        angle = torch.rad2deg(torch.acos((mine * truth).sum(1).clamp(-1.0, 1.0)))
        angle = torch.where(valid, angle, 0.0)
        self.angle_sum = self.angle_sum + angle.sum()
        edges = torch.arange(1, _BINS + 1, dtype=torch.float64, device=angle.device) / _BINS_PER_DEGREE
        bins = torch.bucketize(angle, edges).clamp(
            max=_BINS - 1
        )  # bin k holds the angles in (k, k + 1] / 100
        counts = torch.zeros_like(self.histogram)
        counts.scatter_add_(
            0, bins.flatten(), valid.flatten().long()
        )  # unlike bincount, does not wait for the GPU
        self.histogram = self.histogram + counts

    def compute(self) -> Tensor:
        """The statistic; a float64 scalar."""
        count = self.histogram.sum()
        if self.statistic == "mean":
            return self.angle_sum / count
        broken = (
            0.0 * self.angle_sum / count
        )  # 0, or nan without pixels or with a prediction that is not finite
        if self.statistic == "within":
            return self.histogram[: self.bins_within].sum().double() / count + broken
        middle = (
            torch.stack([count - 1, count]) // 2
        )  # the two middle ranks, from 0; equal if the count is odd
        bins = torch.searchsorted(self.histogram.cumsum(0), middle, right=True)
        return (bins.double() + 0.5).mean() / _BINS_PER_DEGREE + broken


def _bins(degrees: float) -> int:
    """Number of bins up to ``degrees``."""
    bins = round(degrees * _BINS_PER_DEGREE)
    if not 0 < bins <= _BINS or abs(bins / _BINS_PER_DEGREE - degrees) > 1e-9:
        raise ValueError(f"degrees is {degrees}; give a multiple of 0.01 above 0 and up to 180.")
    return bins
