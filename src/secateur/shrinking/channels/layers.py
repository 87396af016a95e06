"""The arguments of operations with weights, whatever the order that ATen has them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from secateur.shrinking.channels import operations as ops
from secateur.shrinking.channels.node import Node


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

    @property
    def apart(self) -> bool:
        """Whether each channel is computed from itself alone."""
        return self.groups == self.x.shape[self.channel] == self.weight.shape[0] and self.weight.shape[1] == 1


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
    place = ops.WEIGHT_OF_PRODUCT[node.op]
    x, weight = node.args[place - 1], node.args[place]
    bias = node.args[0] if node.op == "addmm" else node.argument(2, "bias") if node.op == "linear" else None
    if node.op != "linear" and (weight.op != "parameter" or len(weight.shape) != 2):
        return None
    inputs = 1 if (node.op == "linear") != node.flipped else 0
    return Layer(x, weight, bias, len(x.shape) - 1, input_axis=inputs, output_axis=1 - inputs)


def layers(nodes: Sequence[Node]) -> list[tuple[Node, Layer]]:
    """The convolutions and linear layers of a trace whose weight is a parameter; none that gets nothing from the example."""
    found: list[tuple[Node, Layer]] = []
    for node in nodes:
        layer = None
        if node.op in ops.CONVOLUTIONS:
            layer = convolution(node)
        elif node.op == "linear" or node.op in ops.PRODUCTS:
            layer = product(node)
        if layer is not None and layer.weight.op == "parameter" and not idle(node):
            found.append((node, layer))
    return found


def idle(node: Node) -> bool:
    """Whether it gives, or is given, nothing in the example, where it might with another input."""
    return any(one.open and 0 in _sizes(one.shape) for one in (node, *node.inputs))


def _sizes(shape: tuple[Any, ...]) -> list[int]:
    several = shape and isinstance(shape[0], tuple)
    return [size for part in shape for size in part] if several else list(shape)


def ranked_axes(node: Node) -> list[int]:
    """The axes along which elements are ranked."""
    dims = len(node.args[0].shape)
    last = node.op in ("argsort", "kthvalue", "mode", "sort", "topk")  # where none is named
    axis = node.argument(2 if node.op in ("kthvalue", "topk") else 1, "dim", -1 if last else None)
    if isinstance(axis, bool) or (last and "dim" in node.kwargs):  # sort takes whether it is stable before
        axis = node.kwargs.get("dim", -1)
    return list(range(dims)) if axis is None else [axis % dims]


def reduced_axes(node: Node, dims: int) -> tuple[list[int], bool]:
    """The axes along which elements become one, and whether they stay, with size 1."""
    first = 2 if node.op in ("norm", "linalg_vector_norm") else 1
    axes = node.argument(first, "dim")
    if axes is None or axes == []:
        return list(range(dims)), False
    chosen = [axes] if isinstance(axes, int) else list(axes)
    keep = len(node.shape) == dims
    return [axis % dims for axis in chosen], keep


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


def adds_up(node: Node) -> bool:
    """Whether a reduction is a sum, or a norm of sums, so that zeros change nothing."""
    if node.op in ("norm", "linalg_vector_norm"):
        power = node.argument(1, "ord" if node.op == "linalg_vector_norm" else "p", 2)
        return power is None or (isinstance(power, (int, float)) and power > 0)
    return node.op == "sum"
