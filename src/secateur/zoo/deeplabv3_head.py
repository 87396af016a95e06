"""The DeepLabV3 head as Less is More uses it (Chen et al. 2017, arXiv 1706.05587, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateur.problem import Dropout
from secateur.zoo.atrous import AtrousConv2d


class DeepLabV3Head(nn.Module):
    """Atrous spatial pyramid of a 1x1, three dilated 3x3 convolutions and image pooling, concatenated; no upsampling.

    Args:
        inputs: Channels of the shared features.
        hidden: Channels of each branch (published: 256).
        outputs: Channels of the prediction.
        rates: Dilations (published: 12, 24, 36, whatever the output stride).
        dropout: Share dropped after the 1x1 branch and after the projection.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        rates: tuple[int, ...] = (12, 24, 36),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        point = nn.Sequential(*_convolution(inputs, hidden, 1), Dropout(dropout))
        atrous = [
            nn.Sequential(AtrousConv2d(inputs, hidden, rate, bias=False), nn.BatchNorm2d(hidden), nn.ReLU())
            for rate in rates
        ]
        self.branches = nn.ModuleList([point, *atrous])
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_convolution(inputs, hidden, 1))
        self.project = nn.Sequential(*_convolution((len(rates) + 2) * hidden, hidden, 1), Dropout(dropout))
        self.classifier = nn.Sequential(*_convolution(hidden, hidden, 3), nn.Conv2d(hidden, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h, w); N > 1 in training, where the pooled branch has BatchNorm."""
        pooled = self.pool(x).expand(-1, -1, *x.shape[-2:])
        return self.classifier(self.project(torch.cat([*(branch(x) for branch in self.branches), pooled], 1)))


def _convolution(inputs: int, outputs: int, kernel: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
