"""The head of Deeplab v2 as AdaShare, DiSparse and AdapMTL use it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateur.problem import Dropout
from secateur.zoo.atrous import AtrousConv2d


class ASPPHead(nn.Module):
    """Atrous spatial pyramid: four dilated branches, summed; no BatchNorm, no upsampling (Chen et al. 2018).

    Args:
        inputs: Channels of the shared features.
        hidden: Channels inside each branch (published: 1024).
        outputs: Channels of the prediction.
        rates: Dilation of each branch.
    """

    def __init__(
        self, inputs: int, hidden: int, outputs: int, rates: tuple[int, ...] = (6, 12, 18, 24)
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_branch(inputs, hidden, outputs, rate) for rate in rates)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h, w)."""
        return torch.stack([branch(x) for branch in self.branches]).sum(0)


def _branch(inputs: int, hidden: int, outputs: int, rate: int) -> nn.Sequential:
    return nn.Sequential(
        AtrousConv2d(inputs, hidden, rate),
        nn.ReLU(),
        Dropout(0.5),
        nn.Conv2d(hidden, hidden, 1),
        nn.ReLU(),
        Dropout(0.5),
        nn.Conv2d(hidden, outputs, 1),
    )
