"""Deeplab-ResNet34: the network of AdaShare, DiSparse and AdapMTL (AdapMTL, section 4.1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from secateur.problem import is_count, is_number
from secateur.zoo.aspp import ASPPHead
from secateur.zoo.by_task import by_task

_STAGES = ((64, 3, 1, 1), (128, 4, 2, 1), (256, 6, 1, 2), (512, 3, 1, 4))  # width, blocks, stride, dilation


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm, and a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int, project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut = nn.Identity()
        if project:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(self.shortcut(x) + residual)


class DeeplabResNet34(nn.Module):
    """A shared ResNet-34 with output stride 8, and an ASPP head per task.

    Args:
        tasks: Task to the number of its output channels.
        width: Multiplier of every channel count; 1 is the published network.
    """

    def __init__(self, tasks: Mapping[str, int], width: float = 1.0) -> None:
        super().__init__()
        self.backbone = _backbone(width)
        features = _scaled(_STAGES[-1][0], width)
        self.heads = by_task({t: ASPPHead(features, _scaled(1024, width), n) for t, n in tasks.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> {task: (N, channels, about H / 8, about W / 8)}."""
        features = self.backbone(x)
        return {task: head(features) for task, head in self.heads.items()}


def deeplab_resnet34(tasks: Mapping[str, int], width: float = 1.0) -> DeeplabResNet34:
    """Deeplab-ResNet34 with ASPP heads; 90,695,664 parameters for ``{"seg": 40, "normal": 3, "depth": 1}``.

    Args:
        tasks: Task to the number of its output channels.
        width: Multiplier of every channel count, for small machines.

    Raises:
        ValueError: If there is no task, a task has no channel, or the width leaves no channel.
    """
    if not tasks or not all(map(is_count, tasks.values())):
        raise ValueError(
            f"deeplab_resnet34: tasks is {dict(tasks)}; give {{task: output channels}} with at least 1 channel each."
        )
    if not is_number(width) or width <= 0 or _scaled(64, width) < 1:
        raise ValueError(f"deeplab_resnet34: width {width} leaves no channel; give at least 0.02.")
    return DeeplabResNet34(tasks, width)


def _scaled(channels: int, width: float) -> int:
    return int(channels * width)


def _backbone(width: float) -> nn.Sequential:
    inputs = _scaled(64, width)
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    stages["conv1"] = nn.Conv2d(3, inputs, 7, 2, 3, bias=False)
    stages["bn1"] = nn.BatchNorm2d(inputs)
    stages["relu"] = nn.ReLU()
    stages["maxpool"] = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
    for number, (channels, blocks, stride, dilation) in enumerate(_STAGES, start=1):
        outputs = _scaled(channels, width)
        layer: list[nn.Module] = []
        for index in range(blocks):
            # The reference projects the shortcut of a stage's first block also where only the dilation changes.
            project = index == 0 and (stride != 1 or inputs != outputs or dilation > 1)
            layer.append(BasicBlock(inputs, outputs, stride if index == 0 else 1, dilation, project))
            inputs = outputs
        stages[f"layer{number}"] = nn.Sequential(*layer)
    backbone = nn.Sequential(stages)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 0.01)
    return backbone
