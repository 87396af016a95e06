"""The soft threshold S(w, α) = sign(w)·max(|w| − α, 0) and its kin, of weights or of blocks, and their gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from secateur.problem import check_choice
from secateur.pruning.once import mapped
from secateur.pruning.pattern import Pattern

Form = Literal["soft", "garrote", "rescaled", "feather"]
_SINGLE = Pattern()


class _Shrink(torch.autograd.Function):
    """Fused threshold; saves at most its own output, which the layer's backward holds anyway."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        shrunk = _value(*inputs)
        _keep(ctx, inputs, shrunk)
        return shrunk

    @staticmethod
    def backward(
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None, None, None]:
        (grad,) = grad_outputs
        if ctx.straight_through and ctx.below == 1.0 and not ctx.needs_input_grad[1]:
            return grad, None, None, None, None, None, None
        shrunk, threshold = ctx.saved_tensors
        slope, grad_threshold = None, None
        if ctx.pattern.blocks and (not ctx.straight_through or ctx.needs_input_grad[1]):
            slope, grad_threshold = soft_block_slopes(grad, shrunk, threshold, ctx.pattern)
        elif ctx.needs_input_grad[1]:
            grad_threshold = -torch.sum(shrunk.sign() * grad, dtype=threshold.dtype)
        if grad_threshold is not None:
            grad_threshold = grad_threshold.reshape(threshold.shape)
        if ctx.straight_through:
            slope = grad if ctx.below == 1.0 else torch.where(shrunk == 0, grad * ctx.below, grad)
        elif slope is None:
            slope = grad.masked_fill(shrunk == 0, 0)
        return slope, grad_threshold, None, None, None, None, None


def _value(
    weight: Tensor,
    threshold: Tensor,
    known: Tensor | None,
    straight_through: bool,
    form: Form,
    pattern: Pattern,
    below: float,
) -> Tensor:
    return shrink(weight, threshold, form, pattern) if known is None else known.view_as(known)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, threshold, _, ctx.straight_through, _, ctx.pattern, ctx.below = inputs
    if not ctx.straight_through or ctx.below != 1.0 or ctx.needs_input_grad[1]:
        ctx.save_for_backward(output, threshold)


class _Mapped(_Shrink):
    """The same as ``torch.func`` wants it, where a call takes twice as long."""

    generate_vmap_rule = True
    forward, setup_context = staticmethod(_value), staticmethod(_keep)  # pyright: ignore[reportAssignmentType]


def _joined(*inputs: Any) -> Tensor:
    """The value of :func:`_value`, in the graph."""
    return cast(Tensor, (_Mapped if mapped() else _Shrink).apply(*inputs))


def soft_threshold(
    weight: Tensor,
    threshold: Tensor,
    straight_through: bool = False,
    pattern: Pattern = _SINGLE,
    known: Tensor | None = None,
) -> Tensor:
    """``sign(w)·max(|w| − α, 0)`` with the gradients of AdapMTL, Eq. 4 and 8 (their signs put right).

    Args:
        weight: w, any shape.
        threshold: α ≥ 0, a scalar tensor.
        straight_through: Pass the gradient on to the pruned weights too, so that they can come back (ST-3,
            arXiv 2212.01076). Otherwise ∂L/∂w is ∂L/∂S where |w| > α and zero elsewhere.
        pattern: Blocks that are shrunk as a whole, by their root mean square r in place of |w|; single weights by default.
        known: S, where it was computed before: then only the gradients' part is made.

    Returns:
        S, of the weight's shape and dtype; ∂L/∂α = −Σ sign(w)·1[|w| > α]·∂L/∂S, with w/r in place of sign(w) in blocks.
    """
    return _joined(weight, threshold, known, straight_through, "soft", pattern, 1.0)


def shrink(weight: Tensor, threshold: Tensor, form: Form = "soft", pattern: Pattern = _SINGLE) -> Tensor:
    """The value of a threshold, without a gradient rule of its own; zero exactly where |w| ≤ α.

    Args:
        weight: w, any shape.
        threshold: α ≥ 0, a scalar tensor.
        form: ``"soft"``: sign(w)·(|w| − α). ``"garrote"``: w − α²/w, the non-negative garrote (Gao 1998, Eq. 2.3), which
            shrinks large weights less. ``"rescaled"``: soft, each output channel times 1.01 / (ρ + 0.01), with ρ
            the share of the channel's ℓ1 norm that lies above α (ST-3, as its public code has it). ``"feather"``:
            sign(w)·(|w|³ − α³)^⅓, between soft and hard (Feather, BMVC 2023, arXiv 2310.02448, with its power of 3).
        pattern: Blocks that are shrunk as a whole (:func:`shrunk_blocks`); single weights by default.
    """
    if form == "rescaled":
        soft, size = shrink(weight, threshold, "soft", pattern), weight.abs().flatten(1)
        share = (size * (soft.flatten(1) != 0)).sum(1) / size.sum(1).clamp(min=torch.finfo(size.dtype).tiny)
        return soft * (1.01 / (share + 0.01)).view(-1, *[1] * (weight.dim() - 1))
    if pattern.blocks or form == "feather":
        return shrunk_blocks(weight, threshold, form, pattern)
    if (
        weight.is_cpu and not torch.compiler.is_compiling() and math.isfinite(alpha := threshold.item())
    ):  # reading a host scalar is free; these kernels are one pass each, and refuse what is not finite
        if form == "soft":
            return F.softshrink(weight, alpha)
        kept = F.hardshrink(weight, alpha)
        return kept.addcdiv_(kept, _nonzero_square(weight), value=-alpha * alpha)
    alpha = threshold.to(weight.dtype)
    if form == "soft":
        return weight - weight.clamp(-alpha, alpha)
    kept = weight.masked_fill(weight.abs() <= alpha, 0)
    return kept.addcdiv_(kept * -alpha.square(), _nonzero_square(weight))


def shrunk_blocks(
    weight: Tensor, threshold: Tensor, form: Literal["soft", "garrote", "feather"], pattern: Pattern
) -> Tensor:
    """``w·max(0, 1 − (α/r)ᵖ)^(1/s)``, r the root mean square of the block of w; zero exactly where r ≤ α.

    p = s = 1 is the soft threshold of the group lasso, p = 2 and s = 1 the group non-negative garrote (Yuan and Lin 2006,
    sections 2 and 4, for orthonormal groups; their factors √n and n of a group of n make its norm r), and p = s = 3 Feather's
    operator. Of a block of one weight they are S(w, α), w − α²/w and sign(w)·(|w|³ − α³)^⅓.

    Args:
        weight: w, (out, in, ...).
        threshold: α ≥ 0, a scalar tensor.
        form: Which of the three.
        pattern: What a block is.
    """
    size = pattern.magnitude(weight)  # (out blocks, in blocks, ...)
    if not pattern.blocks:
        size = size.to(torch.promote_types(size.dtype, torch.float32))
    alpha = threshold.to(size.dtype)
    divisor = size.masked_fill(size == 0, 1)
    factor = (
        (size - alpha).clamp_(min=0).div_(divisor)
    )  # differences of neighbours are exact: nonzero where r > α
    ratio = (alpha / divisor).clamp_(
        max=1
    )  # no more than 1 where pruned, where it may be beyond what numbers hold
    if form == "garrote":
        factor = factor.addcmul_(factor, ratio)  # (1 − q)·(1 + q)
    elif form == "feather":
        factor = factor.addcmul_(factor, ratio + ratio.square()).pow_(1 / 3)  # (1 − q)·(1 + q + q²)
    return pattern.scaled(weight, factor)


def soft_block_slopes(
    grad: Tensor, shrunk: Tensor, threshold: Tensor, pattern: Pattern
) -> tuple[Tensor, Tensor]:
    """Gradients of the soft form: of a block u·r with Σu² = n weights, those of ``u·(r − α)``; zero where it is pruned.

    Args:
        grad: ∂L/∂S, of the weight's shape.
        shrunk: S, as :func:`shrunk_blocks` gave it. It has the direction u, and r = rms(S) + α.
        threshold: α.
        pattern: What a block is.

    Returns:
        ∂L/∂w = (1 − α/r)·∂L/∂S + α/r·u·(u·∂L/∂S)/n, which is ∂L/∂S for a block of one weight, and ∂L/∂α = −Σ u·∂L/∂S, a scalar.
    """
    size = pattern.magnitude(shrunk)
    direction = pattern.scaled(shrunk.to(size.dtype), 1 / size)  # w / r; 0 where pruned
    along = pattern.sums(direction * grad)
    alpha = threshold.to(size.dtype)
    held = alpha / (size + alpha)
    kept = pattern.sums(shrunk.ne(0).to(size.dtype)) > 0
    slope = pattern.scaled(grad.to(size.dtype), (1 - held) * kept)
    slope += pattern.scaled(direction, held * along / pattern.sizes(shrunk))
    return slope.to(grad.dtype), -along.sum(dtype=threshold.dtype)


def _nonzero_square(weight: Tensor) -> Tensor:
    """w², but tiny instead of zero, so that 0 / w² is 0 where the weight is zero."""
    return weight.square().add_(torch.finfo(weight.dtype).tiny)


@dataclass(frozen=True)
class Shrinkage:
    """The effect ``weight -> S(weight, α)``, straight-through or with the published gradient; layers may share the α.

    Args:
        threshold: α, a scalar tensor.
        straight_through: Whether pruned weights have a gradient.
        form: How the survivors are shrunk.
        pattern: What is shrunk as a whole.
        below: Factor of the gradient of pruned weights, if they have one.

    Raises:
        ValueError: If ``form`` is unknown.
    """

    threshold: Tensor
    straight_through: bool
    form: Form = "soft"
    pattern: Pattern = _SINGLE
    below: float = 1.0

    def __post_init__(self) -> None:
        check_choice("form", self.form, Form)

    def __call__(self, weight: Tensor) -> Tensor:
        """S(weight, α), of the weight's shape."""
        return _joined(
            weight, self.threshold, None, self.straight_through, self.form, self.pattern, self.below
        )

    def again(self, weight: Tensor, known: Tensor) -> Tensor:
        """``known``, what a call has given, once more: in a graph of its own, where its own keeps what a backward pass frees."""
        through, alpha = self.straight_through, self.threshold
        if through and self.below == 1.0 and not alpha.requires_grad:
            return known
        return _joined(weight, alpha, known.detach(), through, self.form, self.pattern, self.below)
