"""The network of Less is More: a dilated ResNet-50 with a deep stem, and a head per task (2023, section 4)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from secateur.problem import check_choice, is_count, is_number
from secateur.zoo.by_task import by_task
from secateur.zoo.classification_head import ClassificationHead
from secateur.zoo.deeplabv3_head import DeepLabV3Head

_STAGES = ((64, 3, 1, 1), (128, 4, 2, 1), (256, 6, 1, 2), (512, 3, 1, 4))  # width, blocks, stride, dilation
_EXPANSION = 4
Activation = Literal["sigmoid", "tanh"]
_ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with BatchNorm, the last four times as wide, and a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = _EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, 4 * width, H / stride, W / stride)."""
        inner = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        return self.relu(self.shortcut(x) + self.bn3(self.conv3(inner)))


class LimResNetD50(nn.Module):
    """A shared ResNetD-50 with output stride 8 (``backbone``), and a head per task (``heads``)."""

    def __init__(self, heads: Mapping[str, nn.Module], width: float) -> None:
        super().__init__()
        self.backbone = _backbone(width)
        self.heads = by_task(heads)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> {task: (N, channels, H / 8, W / 8), or (N, channels) of a classified task}."""
        features = self.backbone(x)
        return {task: head(features) for task, head in self.heads.items()}


def lim_resnetd50(
    tasks: Mapping[str, int],
    width: float = 1.0,
    activations: Mapping[str, Activation] | None = None,
    classify: Sequence[str] = (),
) -> LimResNetD50:
    """ResNetD-50 with DeepLabV3 heads; 72,019,693 parameters for ``{"seg": 41, "normal": 3, "depth": 1}``.

    Args:
        tasks: Task to the number of its output channels.
        width: Multiplier of every channel count, for small machines.
        activations: Task to what its head ends in; none if left out (published: sigmoid for depth, tanh for normals).
        classify: Tasks that have a classification head, which returns one vector for an image.

    Raises:
        ValueError: If there is no task, a task has no channel, the width leaves no channel, or a task or an activation is unknown.
    """
    if not tasks or not all(map(is_count, tasks.values())):
        raise ValueError(
            f"lim_resnetd50: tasks is {dict(tasks)}; give {{task: output channels}} with at least 1 channel each."
        )
    if not is_number(width) or width <= 0 or _scaled(64, width) < 2:
        raise ValueError(f"lim_resnetd50: width {width} leaves no channel; give at least 0.04.")
    activations = activations or {}
    unknown = sorted({*activations, *classify} - set(tasks))
    if unknown:
        raise ValueError(
            f"lim_resnetd50: activations and classify name {unknown}, but the tasks are {sorted(tasks)}."
        )
    for task, name in activations.items():
        check_choice(f"lim_resnetd50: activations[{task!r}]", name, Activation)
    features = _EXPANSION * _scaled(_STAGES[-1][0], width)
    heads: dict[str, nn.Module] = {}
    for task, outputs in tasks.items():
        if task in classify:
            heads[task] = ClassificationHead(features, _scaled(64, width), outputs)
        else:
            heads[task] = DeepLabV3Head(features, _scaled(256, width), outputs)
        if task in activations:
            heads[task] = nn.Sequential(heads[task], _ACTIVATIONS[activations[task]]())
    return LimResNetD50(heads, width)


def _scaled(channels: int, width: float) -> int:
    return int(channels * width)


def _backbone(width: float) -> nn.Sequential:
    stem, inputs = _scaled(64, width), _scaled(128, width)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = nn.Sequential(
        *_convolution(3, stem, 2), *_convolution(stem, stem, 1), *_convolution(stem, inputs, 1)
    )
    layers["maxpool"] = nn.MaxPool2d(3, 2, 1)
    for number, (channels, blocks, stride, dilation) in enumerate(_STAGES, start=1):
        layer: list[nn.Module] = []
        for index in range(blocks):
            layer.append(Bottleneck(inputs, _scaled(channels, width), stride if index == 0 else 1, dilation))
            inputs = _EXPANSION * _scaled(channels, width)
        layers[f"layer{number}"] = nn.Sequential(*layer)
    return nn.Sequential(layers)


def _convolution(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
