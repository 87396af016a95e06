"""The arguments of operations with weights, whatever the order that ATen has them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from secateur.shrinking.channels.trace import Node


@dataclass(frozen=True)
class Layer:
    """A convolution or a product with a weight.

    Args:
        x: What goes in.
        weight: Its weight.
        bias: Its bias, if any.
        channel: Axis of ``x`` that holds the input channels.
        input_axis: Axis of the weight for the input channels (of one group).
        output_axis: Axis of the weight for the output channels (of one group, if transposed).
        groups: Of the convolution.
        transposed: Whether it is a transposed convolution.
        padded: Whether the border sees padding, so that a constant input does not give a constant output.
    """

    x: Node
    weight: Node
    bias: Node | None
    channel: int
    input_axis: int = 1
    output_axis: int = 0
    groups: int = 1
    transposed: bool = False
    padded: bool = False


def convolution(node: Node) -> Layer:
    """The convolution that ``node`` is."""
    x, weight = node.args[0], node.args[1]
    space = len(weight.shape) - 2
    if node.op in ("convolution", "_convolution"):
        transposed, groups = bool(node.args[6]), node.args[8]
    else:
        transposed, groups = node.op.startswith("conv_transpose"), node.argument(6, "groups", 1)
    return Layer(
        x,
        weight,
        node.argument(2, "bias"),
        channel=len(x.shape) - space - 1,
        input_axis=0 if transposed else 1,
        output_axis=1 if transposed else 0,
        groups=groups,
        transposed=transposed,
        padded=transposed or _pads(node.argument(4, "padding", 0)),
    )


def product(node: Node) -> Layer | None:
    """The linear layer that ``node`` is; None for a product of two activations."""
    match node.op:
        case "linear":
            return Layer(node.args[0], node.args[1], node.argument(2, "bias"), len(node.args[0].shape) - 1)
        case "addmm":
            bias, x, weight = node.args[:3]
        case _:
            (x, weight), bias = node.args[:2], None
    if weight.op != "parameter" or len(weight.shape) != 2:
        return None
    return Layer(x, weight, bias, len(x.shape) - 1, input_axis=0, output_axis=1)


def spatial_axes(node: Node, shape: tuple[int, ...]) -> list[int]:
    """The axes along which a spatial operation works: what it pads, or all from 2 on."""
    before = node.args[0].shape
    if node.op in ("pad", "constant_pad_nd"):
        return [axis for axis, size in enumerate(before) if size != shape[axis]]
    return list(range(2, len(before)))


def _pads(padding: Any) -> bool:
    if isinstance(padding, str):
        return padding != "valid"
    return any(padding) if isinstance(padding, (list, tuple)) else bool(padding)
