"""An update must not wait for the device: on the meta device, where nothing has a value, that would fail."""

import pytest
import torch
from torchmetrics import Metric

from secateur.measures.metrics import DepthError, MapError, MeanIoU, NormalAngle, PixelAccuracy

LABELS = torch.empty(2, 8, 8, dtype=torch.int64, device="meta")


@pytest.mark.parametrize(
    ("metric", "channels", "target"),
    [
        (MeanIoU(5), 5, LABELS),
        (PixelAccuracy(5), 5, LABELS),
        (NormalAngle("median"), 3, torch.empty(2, 3, 8, 8, device="meta")),
        (DepthError("abs"), 1, torch.empty(2, 1, 8, 8, device="meta")),
        (MapError(), 1, torch.empty(2, 1, 8, 8, device="meta")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_update_reads_no_value(metric: Metric, channels: int, target: torch.Tensor) -> None:
    metric.to("meta").update(torch.empty(2, channels, 4, 4, device="meta"), target)
