"""Training on one GPU at the speed of the GPU: what starts its kernels costs more than the kernels of a narrow network.

`accelerate()` changes, in this process, how networks under `secateur.fit` compute, not what: forward and backward pass are recorded
once as a CUDA graph and played again at every step. In wide networks dilated 3x3 convolutions, for which cuDNN has no fast kernel, can
be matrix products of gathered pixels that leave out the taps that see padding alone.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree


def accelerate(gather: bool = False) -> None:
    """From now on, in this process; ``gather`` for dilated convolutions as matrix products."""
    setup, convolve = Fabric.setup, nn.Conv2d._conv_forward

    def graphed(self: Fabric, module: nn.Module, *optimizers: Any, **options: Any) -> Any:
        return setup(self, Graphed(module, gather), *optimizers, **options)

    def convolved(self: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not (x.is_cuda and is_atrous(self)):
            return convolve(self, x, weight, bias)
        if torch.is_autocast_enabled("cuda"):
            dtype = torch.get_autocast_dtype("cuda")
            x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        y = atrous(x, weight, self.dilation[0])
        return y if bias is None else y + bias.view(1, -1, 1, 1)

    Fabric.setup = graphed
    if gather:
        nn.Conv2d._conv_forward = convolved


def is_atrous(layer: nn.Conv2d) -> bool:
    """Whether it is a dilated 3x3 convolution that keeps the size of its input."""
    (d, e), same = layer.dilation, layer.dilation == layer.padding
    plain = layer.stride == (1, 1) and layer.groups == 1 and layer.padding_mode == "zeros"
    return layer.kernel_size == (3, 3) and d == e > 1 and same and plain


def atrous(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """The 3x3 convolution of (N, C, H, W) by (O, C, 3, 3) with padding and dilation ``dilation``: (N, O, H, W), channels last."""
    return _Atrous.apply(x, weight, dilation)


class _Atrous(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dilation: int) -> Tensor:
        pixels = x.permute(0, 2, 3, 1)  # (N, H, W, C), contiguous where x is channels last
        taps = [_taps(size, dilation) for size in pixels.shape[1:3]]
        columns = _gathered(pixels, dilation, taps, 1)
        seen = weight[:, :, taps[0][0] : taps[0][-1] + 1, taps[1][0] : taps[1][-1] + 1]
        ctx.dilation, ctx.taps = dilation, taps
        ctx.save_for_backward(columns, seen)
        ctx.shape = weight.shape
        y = columns @ seen.permute(2, 3, 1, 0).reshape(-1, len(weight))
        return y.view(*pixels.shape[:3], -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        columns, seen = ctx.saved_tensors
        grad = grads[0].permute(0, 2, 3, 1).contiguous()  # (N, H, W, O)
        rows, cols = ctx.taps
        by_weight = columns.t() @ grad.view(-1, grad.shape[-1])
        by_weight = by_weight.view(len(rows), len(cols), -1, grad.shape[-1]).permute(3, 2, 0, 1)
        if by_weight.shape != ctx.shape:
            whole = by_weight.new_zeros(ctx.shape)
            whole[:, :, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] = by_weight
            by_weight = whole
        by_weight = (
            by_weight.contiguous()
        )  # as the weight lies, so that it is taken as its gradient without a copy
        back = _gathered(grad, ctx.dilation, ctx.taps, -1)
        by_x = back @ seen.permute(2, 3, 0, 1).reshape(-1, seen.shape[1])
        return by_x.view(*grad.shape[:3], -1).permute(0, 3, 1, 2), by_weight, None


def _taps(size: int, dilation: int) -> list[int]:
    """Of 0, 1 and 2 those that see a pixel anywhere along an axis."""
    return [0, 1, 2] if dilation < size else [1]


def _gathered(pixels: Tensor, dilation: int, taps: list[list[int]], sign: int) -> Tensor:
    """For each pixel of (N, H, W, C) its neighbours in the directions of the taps, or in the opposite ones: (N·H·W, taps·C)."""
    n, h, w, _ = pixels.shape
    rows, cols = taps
    v, u = (dilation if len(along) > 1 else 0 for along in taps)
    padded = F.pad(pixels, (0, 0, u, u, v, v))
    shifts = [(v + sign * (i - 1) * v, u + sign * (j - 1) * u) for i in rows for j in cols]
    return torch.cat([padded[:, a : a + h, b : b + w] for a, b in shifts], -1).view(n * h * w, -1)


class Graphed(nn.Module):
    """A network whose training steps are played from a CUDA graph; recorded anew when layers change their class, as thresholds have it.

    Args:
        network: Called by one input, a tensor or several in a dictionary, of the same shapes at every step.
        channels_last: Whether its images lie so.
    """

    def __init__(self, network: nn.Module, channels_last: bool = False) -> None:
        super().__init__()
        self.network, self.channels_last = network, channels_last
        self._layers = list(network.modules())
        self._key: Any = None
        self._play: Any = None

    def forward(self, x: Any) -> Any:
        """What the network makes of it."""
        inputs = pytree.tree_leaves(x)
        ours = self.network.training and torch.is_grad_enabled() and all(value.is_cuda for value in inputs)
        if not ours:
            return self.network(x)
        key = [(value.shape, value.dtype) for value in inputs], [type(layer) for layer in self._layers]
        if key != self._key:
            self._play = None  # frees its memory first
            self._play, self._key = self._record(x), key
        return self._play(x)

    def _record(self, x: Any) -> nn.Module:
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        rng = torch.cuda.get_rng_state()
        x = pytree.tree_map(self._copied, x)
        dtype, enabled = torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda")
        with torch.autocast("cuda", dtype, enabled, cache_enabled=False):
            known = {id(p) for p in self.network.parameters()}
            others = [leaf for leaf in _leaves(self.network(x)) if id(leaf) not in known]
            if not all(isinstance(leaf, nn.Parameter) for leaf in others):
                raise RuntimeError(
                    "The network learns a tensor that is no parameter, whose gradient a graph would leave out."
                )
            played = torch.cuda.make_graphed_callables(_Callee(self.network, others), (x,), 3, True)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        torch.cuda.set_rng_state(rng)
        return played

    def _copied(self, x: Tensor) -> Tensor:
        last = self.channels_last and x.dim() == 4
        return x.detach().clone(memory_format=torch.channels_last if last else torch.preserve_format)


class _Callee(nn.Module):
    """The network with what else it learns, such as thresholds, so that the graph has their gradients too."""

    def __init__(self, network: nn.Module, others: list[nn.Parameter]) -> None:
        super().__init__()
        self.network, self.others = network, nn.ParameterList(others)

    def forward(self, x: Any) -> Any:
        return self.network(x)


def _leaves(outputs: Any) -> list[nn.Parameter]:
    """What gradients of the outputs end in."""
    seen: set[Any] = set()
    found: dict[int, nn.Parameter] = {}
    left = [value.grad_fn for value in pytree.tree_leaves(outputs)]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        left += [previous for previous, _ in node.next_functions]
    return list(found.values())
