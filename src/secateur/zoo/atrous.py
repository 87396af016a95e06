"""The 3x3 convolution with a rate of atrous spatial pyramids (Chen et al. 2018, section 3.1), as large as its output."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AtrousConv2d(nn.Conv2d):
    """As ``nn.Conv2d(inputs, outputs, 3, 1, rate, rate)``; in training it leaves out the taps that nowhere meet the map.

    A tap is ``rate`` away from the middle, so on a map of no more rows than that the upper and lower ones see padding alone, and so do the
    outer columns: what they add is zero, and so is their gradient. Traced, scripted and compiled it is the whole convolution.

    Args:
        inputs: Channels of the features.
        outputs: Channels made of them.
        rate: Distance of the taps in pixels, and the padding.
        bias: Adds one to each channel.
    """

    def __init__(self, inputs: int, outputs: int, rate: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, 1, rate, rate, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as torch calls it)
        """(N, inputs, h, w) or (inputs, h, w) -> the same with ``outputs`` channels."""
        if torch.jit.is_scripting():  # pyright: ignore[reportPrivateImportUsage]
            return self._conv_forward(input, self.weight, self.bias)
        else:  # noqa: RET505 (what follows a return is scripted all the same)
            plain = isinstance(input, Tensor)  # pyright: ignore[reportUnnecessaryIsInstance] (torch.fx traces it with a Proxy)
            traced = torch.jit.is_tracing() or torch.compiler.is_compiling()  # pyright: ignore[reportPrivateImportUsage]
            if not plain or traced or not self.training:
                return self._conv_forward(input, self.weight, self.bias)
            wide = [rate < size for rate, size in zip(self.dilation, input.shape[-2:], strict=True)]
            rows, columns = (slice(None) if met else slice(1, 2) for met in wide)
            padding = [rate if met else 0 for rate, met in zip(self.dilation, wide, strict=True)]
            return F.conv2d(input, self.weight[:, :, rows, columns], self.bias, 1, padding, self.dilation)
