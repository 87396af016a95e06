"""A convolutional network with a share of its channels, for small machines."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

_IMAGE = 3


@torch.no_grad()
def narrow(network: nn.Module, width: float) -> None:
    """Multiplies every channel count of ``network`` by ``width``, in place; the image keeps its three channels.

    The first rows and columns of each weight stay, those of a convolution scaled as an initialisation by fan would be. BatchNorm's
    statistics begin anew.

    Args:
        network: Of Conv2d, BatchNorm and Linear layers.
        width: In (0, 1].

    Raises:
        ValueError: If the width is out of range, or a layer with weights of another kind is among them.
    """
    if not 0 < width <= 1:
        raise ValueError(f"width is {width}; give a number in (0, 1].")
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d):
            made: nn.Module = _convolution(module, width)
        elif isinstance(module, nn.Linear):
            made = _linear(module, width)
        elif isinstance(module, _BatchNorm):
            made = type(module)(_scaled(module.num_features, width), module.eps, module.momentum)
            made.weight, made.bias = (_share(p, (made.num_features,)) for p in (module.weight, module.bias))
        elif list(module.parameters(recurse=False)):
            raise ValueError(
                f"width {width}: {name} is a {type(module).__name__}, which cannot be made narrower; give width 1."
            )
        else:
            continue
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, made.train(module.training))


def _linear(module: nn.Linear, width: float) -> nn.Linear:
    shape = _scaled(module.out_features, width), _scaled(module.in_features, width)
    bias = dict(module.named_parameters()).get("bias")
    made = nn.Linear(shape[1], shape[0], bias is not None)
    made.weight = _share(module.weight, shape)
    if bias is not None:
        made.bias = _share(bias, shape[:1])
    return made


def _convolution(module: nn.Conv2d, width: float) -> nn.Conv2d:
    inputs = _IMAGE if module.in_channels == _IMAGE else _scaled(module.in_channels, width)
    outputs = _scaled(module.out_channels, width)
    depthwise = module.groups == module.in_channels
    made = nn.Conv2d(
        inputs,
        outputs,
        (module.kernel_size[0], module.kernel_size[1]),
        (module.stride[0], module.stride[1]),
        module.padding if isinstance(module.padding, str) else (module.padding[0], module.padding[1]),
        (module.dilation[0], module.dilation[1]),
        inputs if depthwise else module.groups,
        module.bias is not None,
        module.padding_mode,
    )
    made.weight = _share(module.weight, tuple(made.weight.shape), (module.out_channels / outputs) ** 0.5)
    if module.bias is not None:
        made.bias = _share(module.bias, (outputs,))
    return made


def _share(parameter: torch.Tensor, shape: tuple[int, ...], scale: float = 1.0) -> nn.Parameter:
    return nn.Parameter(parameter[tuple(slice(n) for n in shape)].clone() * scale)


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))
