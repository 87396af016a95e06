"""The soft threshold S(w, α) = sign(w)·max(|w| − α, 0), its gradients, and how it ends as plain weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.pruning.effective import detach
from secateur.pruning.levels import guarded
from secateur.pruning.masks import Masks, top_masks

Form = Literal["soft", "garrote", "rescaled"]


class _Shrink(torch.autograd.Function):
    """Fused threshold; saves at most its own output, which the layer's backward holds anyway."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, threshold: Tensor, straight_through: bool, form: Form) -> Tensor:
        shrunk = shrink(weight, threshold, form)
        ctx.straight_through = straight_through
        if not straight_through or ctx.needs_input_grad[1]:
            ctx.save_for_backward(shrunk, threshold)
        return shrunk

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (grad,) = grad_outputs
        grad_weight = grad if ctx.straight_through else None
        grad_threshold = None
        if not ctx.straight_through or ctx.needs_input_grad[1]:
            shrunk, threshold = ctx.saved_tensors
            if ctx.needs_input_grad[1]:
                grad_threshold = -torch.sum(shrunk.sign() * grad, dtype=threshold.dtype).reshape(
                    threshold.shape
                )
            if not ctx.straight_through:
                grad_weight = grad.masked_fill(shrunk == 0, 0)
        return grad_weight, grad_threshold, None, None


def soft_threshold(weight: Tensor, threshold: Tensor, straight_through: bool = False) -> Tensor:
    """``sign(w)·max(|w| − α, 0)`` with the gradients of AdapMTL, Eq. 4 and 8 (their signs put right).

    Args:
        weight: w, any shape.
        threshold: α ≥ 0, a scalar tensor.
        straight_through: Pass the gradient on to the pruned weights too, so that they can come back (ST-3,
            arXiv 2212.01076). Otherwise ∂L/∂w is ∂L/∂S where |w| > α and zero elsewhere.

    Returns:
        S, of the weight's shape and dtype; ∂L/∂α = −Σ sign(w)·1[|w| > α]·∂L/∂S.
    """
    return _Shrink.apply(weight, threshold, straight_through, "soft")  # pyright: ignore[reportReturnType]


def shrink(weight: Tensor, threshold: Tensor, form: Form = "soft") -> Tensor:
    """The value of a threshold, without a gradient rule of its own; zero exactly where |w| ≤ α.

    Args:
        weight: w, any shape.
        threshold: α ≥ 0, a scalar tensor.
        form: ``"soft"``: sign(w)·(|w| − α). ``"garrote"``: w − α²/w, the non-negative garrote (Gao 1998, Eq. 2.3), which
            shrinks large weights less. ``"rescaled"``: soft, each output channel times 1.01 / (ρ + 0.01), with ρ
            the share of the channel's ℓ1 norm that lies above α (ST-3, as its public code has it).
    """
    if form == "rescaled":
        soft, size = shrink(weight, threshold, "soft"), weight.abs().flatten(1)
        share = (size * (soft.flatten(1) != 0)).sum(1) / size.sum(1).clamp(min=torch.finfo(size.dtype).tiny)
        return soft * (1.01 / (share + 0.01)).view(-1, *[1] * (weight.dim() - 1))
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


def _nonzero_square(weight: Tensor) -> Tensor:
    """w², but tiny instead of zero, so that 0 / w² is 0 where the weight is zero."""
    return weight.square().add_(torch.finfo(weight.dtype).tiny)


@dataclass(frozen=True)
class Shrinkage:
    """The effect ``weight -> S(weight, α)``, straight-through or with the published gradient; layers may share the α."""

    threshold: Tensor
    straight_through: bool
    form: Form = "soft"

    def __call__(self, weight: Tensor) -> Tensor:
        """S(weight, α), of the weight's shape."""
        return _Shrink.apply(weight, self.threshold, self.straight_through, self.form)  # pyright: ignore[reportReturnType]


@torch.no_grad()
def bake(
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    scales: Mapping[str, Tensor | float],
    keep: int,
    form: Form = "soft",
    at_least: int = 0,
    highest: Mapping[str, Tensor] | None = None,
) -> Masks:
    """Turns thresholded weights into plain ones: exactly ``keep`` survive, shrunk, under a mask that no longer moves.

    Args:
        model: Holds the weights; it computes with them as they are from here on.
        weights: Name to the latent weight.
        scales: Name to the factor of its threshold; the common level that keeps ``keep`` weights is found here.
        keep: Number of weights to keep, in all.
        form: How the survivors are shrunk.
        at_least: Weights that every layer keeps. A layer that would have fewer is shrunk by the largest of the rest of it.
        highest: Name to the threshold in force; none is raised above it. What a cut to ``keep`` takes beside is taken from the
            mask alone, so that the survivors compute what they did. None lets the common level shrink them all.
    """
    ratios = {name: w.abs().div_(scales[name]) for name, w in weights.items()}
    chosen = dict(zip(weights, top_masks(guarded(list(ratios.values()), at_least), keep), strict=True))
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
    shrunk = {name: shrink(w, thresholds[name], form) for name, w in weights.items()}
    detach(model)
    for name, weight in weights.items():
        value, latent = shrunk[name], weight.clone()
        rounded_away = chosen[name] & (value == 0)
        weight.copy_(torch.where(rounded_away, latent * torch.finfo(latent.dtype).eps, value))
    masks = Masks(weights, chosen)
    masks.zero_weights_()
    return masks
