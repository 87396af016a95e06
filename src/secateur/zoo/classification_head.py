"""The classification head of Less is More (2023, CelebA attributes)."""

from __future__ import annotations

from torch import Tensor, nn


class ClassificationHead(nn.Sequential):
    """A convolution, pooling and two linear layers; returns logits.

    The published code ends in a sigmoid and gives that to a loss which takes logits; here it ends before.

    Args:
        inputs: Channels of the shared features.
        hidden: Channels of the convolution (published: 64); the linear layer has half as many.
        outputs: Logits.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, hidden, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.6),
            nn.Linear(hidden, hidden // 2),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(hidden // 2, outputs),
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (nn.Sequential calls it so)
        """(N, inputs, h, w), h and w at least 2 -> (N, outputs)."""
        return super().forward(input)
