"""What a weight does once in a forward pass."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Convolution:
    """How a convolution is called.

    Args:
        shape: Of its input as it is convolved, without channels, (N, H, W).
        kernel: Size of its kernel.
        stride: As torch has it, and so are ``padding``, ``dilation`` and ``groups``.
        padding: At each side.
        dilation: In elements.
        groups: Of channels.
        transposed: Whether it is a transposed one.
    """

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool


@dataclass(frozen=True)
class Use:
    """A weight that multiplies once.

    Args:
        weight: Its name; where it is tied, that in the layer that runs.
        macs: Multiply-accumulates.
        own: Whether the layer that it belongs to is called, and not its weight by something else.
        convolution: If it is one.
    """

    weight: str
    macs: int
    own: bool
    convolution: Convolution | None = None
