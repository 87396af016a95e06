"""The soft threshold S(w, α) = sign(w)·max(|w| − α, 0), of weights or of blocks, its gradients, and how it ends as plain weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.pruning.effective import detach
from secateur.pruning.levels import guarded
from secateur.pruning.masks import Masks, top_masks
from secateur.pruning.pattern import Pattern, best_blocks, first_blocks

Form = Literal["soft", "garrote", "rescaled"]
_SINGLE = Pattern()


class _Shrink(torch.autograd.Function):
    """Fused threshold; saves at most its own output, which the layer's backward holds anyway."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, threshold: Tensor, straight_through: bool, form: Form, pattern: Pattern
    ) -> Tensor:
        shrunk = shrink(weight, threshold, form, pattern)
        ctx.straight_through, ctx.pattern = straight_through, pattern
        if not straight_through or ctx.needs_input_grad[1]:
            ctx.save_for_backward(shrunk, threshold)
        return shrunk

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        (grad,) = grad_outputs
        grad_weight = grad if ctx.straight_through else None
        grad_threshold = None
        if not ctx.straight_through or ctx.needs_input_grad[1]:
            shrunk, threshold = ctx.saved_tensors
            if ctx.pattern.blocks:
                slope, grad_threshold = soft_block_slopes(grad, shrunk, threshold, ctx.pattern)
                grad_weight = grad if ctx.straight_through else slope
                return grad_weight, grad_threshold.reshape(threshold.shape), None, None, None
            if ctx.needs_input_grad[1]:
                grad_threshold = -torch.sum(shrunk.sign() * grad, dtype=threshold.dtype).reshape(
                    threshold.shape
                )
            if not ctx.straight_through:
                grad_weight = grad.masked_fill(shrunk == 0, 0)
        return grad_weight, grad_threshold, None, None, None


def soft_threshold(
    weight: Tensor, threshold: Tensor, straight_through: bool = False, pattern: Pattern = _SINGLE
) -> Tensor:
    """``sign(w)·max(|w| − α, 0)`` with the gradients of AdapMTL, Eq. 4 and 8 (their signs put right).

    Args:
        weight: w, any shape.
        threshold: α ≥ 0, a scalar tensor.
        straight_through: Pass the gradient on to the pruned weights too, so that they can come back (ST-3,
            arXiv 2212.01076). Otherwise ∂L/∂w is ∂L/∂S where |w| > α and zero elsewhere.
        pattern: Blocks that are shrunk as a whole, by their root mean square r in place of |w|; single weights by default.

    Returns:
        S, of the weight's shape and dtype; ∂L/∂α = −Σ sign(w)·1[|w| > α]·∂L/∂S, with w/r in place of sign(w) in blocks.
    """
    return _Shrink.apply(weight, threshold, straight_through, "soft", pattern)  # pyright: ignore[reportReturnType]


def shrink(weight: Tensor, threshold: Tensor, form: Form = "soft", pattern: Pattern = _SINGLE) -> Tensor:
    """The value of a threshold, without a gradient rule of its own; zero exactly where |w| ≤ α.

    Args:
        weight: w, any shape.
        threshold: α ≥ 0, a scalar tensor.
        form: ``"soft"``: sign(w)·(|w| − α). ``"garrote"``: w − α²/w, the non-negative garrote (Gao 1998, Eq. 2.3), which
            shrinks large weights less. ``"rescaled"``: soft, each output channel times 1.01 / (ρ + 0.01), with ρ
            the share of the channel's ℓ1 norm that lies above α (ST-3, as its public code has it).
        pattern: Blocks that are shrunk as a whole (:func:`shrunk_blocks`); single weights by default.
    """
    if form == "rescaled":
        soft, size = shrink(weight, threshold, "soft", pattern), weight.abs().flatten(1)
        share = (size * (soft.flatten(1) != 0)).sum(1) / size.sum(1).clamp(min=torch.finfo(size.dtype).tiny)
        return soft * (1.01 / (share + 0.01)).view(-1, *[1] * (weight.dim() - 1))
    if pattern.blocks:
        return shrunk_blocks(weight, threshold, form, pattern)
    if (
        weight.is_cpu and not torch.compiler.is_compiling()
    ):  # reading a host scalar is free; these kernels are one pass each
        alpha = threshold.item()
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
    weight: Tensor, threshold: Tensor, form: Literal["soft", "garrote"], pattern: Pattern
) -> Tensor:
    """``w·max(0, 1 − α/r)`` or ``w·max(0, 1 − α²/r²)``, r the root mean square of the block of w; zero exactly where r ≤ α.

    The soft threshold of the group lasso and the group non-negative garrote (Yuan and Lin 2006, sections 2 and 4, for
    orthonormal groups; their factors √p and p of a group of p make its norm r). Of a block of one weight they are S(w, α) and w − α²/w.

    Args:
        weight: w, (out, in, ...).
        threshold: α ≥ 0, a scalar tensor.
        form: Which of the two.
        pattern: What a block is.
    """
    size = pattern.magnitude(weight)  # (out blocks, in blocks, ...)
    alpha = threshold.to(size.dtype)
    factor = (
        (size - alpha).clamp_(min=0).div_(size)
    )  # differences of neighbours are exact: nonzero where r > α
    if form == "garrote":
        factor = factor.addcmul_(factor, alpha / size)  # (1 − q)·(1 + q)
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
    """The effect ``weight -> S(weight, α)``, straight-through or with the published gradient; layers may share the α."""

    threshold: Tensor
    straight_through: bool
    form: Form = "soft"
    pattern: Pattern = _SINGLE

    def __call__(self, weight: Tensor) -> Tensor:
        """S(weight, α), of the weight's shape."""
        return _Shrink.apply(weight, self.threshold, self.straight_through, self.form, self.pattern)  # pyright: ignore[reportReturnType]


@torch.no_grad()
def bake(
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    scales: Mapping[str, Tensor | float],
    keep: float,
    form: Form = "soft",
    at_least: int = 0,
    highest: Mapping[str, Tensor] | None = None,
    pattern: Pattern = _SINGLE,
) -> Masks:
    """Turns thresholded weights into plain ones: exactly ``keep`` survive, shrunk, under a mask that no longer moves.

    Args:
        model: Holds the weights; it computes with them as they are from here on.
        weights: Name to the latent weight.
        scales: Name to the factor of its threshold; the common level that keeps ``keep`` weights is found here.
        keep: Number of weights to keep, in all: a whole number of single weights; of blocks to within half a block.
        form: How the survivors are shrunk.
        at_least: Weights that every layer keeps. A layer that would have fewer is shrunk by the largest of the rest of it.
        highest: Name to the threshold in force; none is raised above it. What a cut to ``keep`` takes beside is taken from the
            mask alone, so that the survivors compute what they did. None lets the common level shrink them all.
        pattern: What survives: single weights, or blocks by their root mean square.
    """
    ratios = {name: pattern.magnitude(w).div_(scales[name]) for name, w in weights.items()}
    chosen = dict(
        zip(
            weights,
            _chosen(list(weights.values()), list(ratios.values()), keep, at_least, pattern),
            strict=True,
        )
    )
    pruned = {n: r[~chosen[n]].max() for n, r in ratios.items() if not chosen[n].all()}
    least = {n: r[chosen[n]].min() for n, r in ratios.items() if chosen[n].any()}
    largest = max(pruned.values()) if pruned else None
    spared = {
        n for n, value in least.items() if largest is not None and value < largest
    }  # kept by the guard alone
    # Just below the smallest survivor and no lower than the largest of the pruned: every survivor stays nonzero.
    lowest = min(value for n, value in least.items() if n not in spared)
    level = torch.nextafter(lowest, torch.zeros_like(lowest))
    level = torch.minimum(level, largest) if largest is not None else torch.zeros_like(level)
    levels = {n: pruned.get(n, torch.zeros_like(level)) if n in spared else level for n in weights}
    thresholds = {name: levels[name] * scales[name] for name in weights}
    if highest is not None:
        thresholds = {n: torch.minimum(t, highest[n].to(t)) for n, t in thresholds.items()}
    shrunk = {name: shrink(w, thresholds[name], form, pattern) for name, w in weights.items()}
    chosen = {name: pattern.spread(chosen[name], w.shape) for name, w in weights.items()}
    detach(model)
    for name, weight in weights.items():
        value, latent = shrunk[name], weight.clone()
        rounded_away = chosen[name] & (value == 0)
        weight.copy_(torch.where(rounded_away, latent * torch.finfo(latent.dtype).eps, value))
    masks = Masks(weights, chosen)
    masks.zero_weights_()
    return masks


def _chosen(
    weights: Sequence[Tensor], ratios: Sequence[Tensor], keep: float, at_least: int, pattern: Pattern
) -> list[Tensor]:
    """True where a weight, or a block, is among those that stay."""
    if not pattern.blocks:
        return top_masks(guarded(ratios, at_least), round(keep))
    sizes = [pattern.sizes(w) for w in weights]
    worth = [
        r.masked_fill(first_blocks(r, s, at_least), torch.inf) for r, s in zip(ratios, sizes, strict=True)
    ]
    return best_blocks(worth, sizes, keep)
