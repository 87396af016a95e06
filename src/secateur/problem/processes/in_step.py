"""Layers that look at a whole batch, or draw for it, in processes that have a share of it each: BatchNorm and dropout.

Functions are exchanged while the network is called, not modules: BatchNorm takes mean and variance of all shares (Ioffe and Szegedy
2015, with the sums of torch's SyncBatchNorm, which works on GPUs alone), and dropout draws for the whole batch and takes its
share. The user's module stays what it is, copies and checkpoints too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, cast

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from secateur.problem.processes import dropout

_BATCH_NORM, _ATTENTION, _DROPOUT = F.batch_norm, F.scaled_dot_product_attention, F.dropout
_BY_BITS = dropout.dropout_by_bits
_MOST = 2**26
"""Elements of a mask that is drawn for the whole batch; what is larger is drawn by each process for itself."""


class InStep(TorchFunctionMode):
    """Inside, layers in training mode compute on the batch of all processes; use it in a ``with`` around forward and backward pass.

    Every process must call the same layers in the same order.
    """

    def __init__(self) -> None:
        super().__init__()
        self._functions = _exchanged()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Exchanges the functions that are known; any other is called as it is."""
        if func is Tensor.backward:
            return _backward(*args, **(kwargs or {}))
        return self._functions.get(func, func)(*args, **(kwargs or {}))


def _backward(
    tensor: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """As ``Tensor.backward``; layers whose activations were not kept are called again in it, where torch looks for no mode."""
    others = _exchanged()
    try:
        for function, other in others.items():
            setattr(_home(function), function.__name__, other)
        torch.autograd.backward(tensor, gradient, retain_graph, create_graph, inputs=inputs)
    finally:
        for function in others:
            setattr(_home(function), function.__name__, function)


def _home(function: Callable[..., Any]) -> Any:
    """The module that it is called from."""
    return dropout if function is _BY_BITS else F


def _batch_norm(
    input: Tensor,  # noqa: A002 (as torch calls it)
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As ``torch.nn.functional.batch_norm``; input (N, C, ...)."""
    if not training:
        return _BATCH_NORM(input, running_mean, running_var, weight, bias, training, momentum, eps)
    axes = [axis for axis in range(input.dim()) if axis != 1]
    with torch.no_grad():
        variance, mean = torch.var_mean(_wide(input), axes, correction=0)  # (C,) each
        count, mean, variance = _over_all(input.numel() // input.shape[1], mean.double(), variance.double())
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((variance * (count / (count - 1))).to(running_var), momentum)
        moments = mean.to(_wide(input).dtype), (variance + eps).rsqrt().to(_wide(input).dtype), count
    return cast(Tensor, _Normalised.apply(input, weight, bias, *moments))


class _Normalised(torch.autograd.Function):
    """(x - mean) * inverse deviation * weight + bias, whose gradient knows that mean and deviation are those of all processes' x."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        inverse: Tensor,
        count: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, inverse, count)
        ctx.biased = bias is not None
        scale = inverse if weight is None else inverse * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        return torch.addcmul(_channel(shift, x), _wide(x), _channel(scale, x)).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, mean, inverse, count = ctx.saved_tensors
        axes = [axis for axis in range(x.dim()) if axis != 1]
        slope, scale = _wide(slope), inverse if weight is None else inverse * weight
        normal = (_wide(x) - _channel(mean, x)).mul_(_channel(inverse, x))
        sums = torch.stack([slope.sum(axes), (slope * normal).sum(axes)])  # (2, C)
        by_bias, by_weight = sums.clone()
        gradient = None
        if ctx.needs_input_grad[0]:
            distributed.all_reduce(sums)
            of_mean, of_deviation = (_channel(s / count, x) for s in sums)
            gradient = (
                ((slope - of_mean).sub_(normal.mul_(of_deviation))).mul_(_channel(scale, x)).to(x.dtype)
            )
        by_weight = None if weight is None else by_weight.to(weight.dtype)
        return gradient, by_weight, by_bias.to(slope.dtype) if ctx.biased else None, None, None, None


def _over_all(count: int, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, at least 2, mean and variance of all processes' values, given this one's; float64, whose sums of squares lose nothing."""
    sums = torch.cat([mean.new_tensor([float(count)]), mean * count, (variance + mean.square()) * count])
    distributed.all_reduce(sums)
    mean, square = (sums[1:] / sums[0]).chunk(2)
    return sums[0], mean, (square - mean.square()).clamp(min=0.0)


def _dropout(
    draw: Callable[..., Tensor],
    input: Tensor,  # noqa: A002 (as torch calls it)
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> Tensor:
    """As ``draw``, a dropout of torch's; the samples along the first axis have the mask that they have in the whole batch."""
    if not training or not 0.0 < p < 1.0:
        return draw(input, p, training, inplace)
    mask = _mask(draw, input, p)
    return input.mul_(mask) if inplace else input * mask


def _mask(draw: Callable[..., Tensor], like: Tensor, p: float) -> Tensor:
    """This process's share of the factors that ``draw`` gives to a batch of all."""
    rank, world = distributed.get_rank(), distributed.get_world_size()
    if like.numel() * world > _MOST:  # of its own: (a draw that all have in common, rank)
        seed = int(torch.randint(2**62, ())) + rank
        with torch.random.fork_rng([like.device] if like.device.type == "cuda" else []):
            torch.manual_seed(seed)
            return draw(torch.ones_like(like), p, True)
    last = (
        like.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    )
    whole = torch.ones((len(like) * world, *like.shape[1:]), dtype=like.dtype, device=like.device)
    whole = whole.contiguous(memory_format=torch.channels_last) if last else whole
    return draw(whole, p, True).tensor_split(world)[rank]


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """As ``scaled_dot_product_attention``, its dropout drawn as :func:`_dropout` draws."""
    if dropout_p <= 0.0 or enable_gqa:
        return _ATTENTION(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    shape = (*query.shape[:-1], key.shape[-2])  # (N, ..., places, places looked at)
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    sees = torch.ones(shape[-2:], dtype=torch.bool, device=query.device).tril() if is_causal else attn_mask
    if sees is not None and sees.dtype == torch.bool:
        scores = scores.masked_fill(~sees, torch.finfo(scores.dtype).min)
    elif sees is not None:
        scores = scores + sees
    shares = scores.softmax(-1)
    if sees is not None and sees.dtype == torch.bool:
        shares = shares * sees.any(-1, keepdim=True)  # what sees nothing gets nothing
    return (shares * _mask(_DROPOUT, shares.detach(), dropout_p)) @ value


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _channel(value: Tensor, x: Tensor) -> Tensor:
    """(C,) as (1, C, 1, ...)."""
    return value.to(_wide(x).dtype).view(1, -1, *[1] * (x.dim() - 2))


@cache
def _exchanged() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What stands for which function; a compiled network breaks off there, for a trace would draw otherwise."""
    draws = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, _BY_BITS)
    found: dict[Callable[..., Any], Callable[..., Any]] = {draw: partial(_dropout, draw) for draw in draws}
    found |= {_BATCH_NORM: _batch_norm, _ATTENTION: _attention}
    return {function: torch.compiler.disable(other) for function, other in found.items()}
