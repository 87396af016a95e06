"""An exact number of survivors: the level that so many magnitudes exceed, and a few of every layer whatever their size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from secateur.pruning.density import DensityError
from secateur.pruning.masks import top_masks


def check_guard(
    density: float, keep: int, sizes: Iterable[int], at_least: int, blocks: Iterable[int] | None = None
) -> None:
    """Raises DensityError if ``at_least`` weights of each layer are more than ``keep``, ValueError if it is negative.

    Args:
        density: That was asked for.
        keep: Weights that it keeps.
        sizes: Weights of each layer.
        at_least: Weights that every layer keeps.
        blocks: Weights of each layer's largest block, where they go in blocks: the last one is kept whole.
    """
    if at_least < 0:
        raise ValueError(f"at_least is {at_least}; give the weights that every layer keeps, 0 for none.")
    sizes = list(sizes)
    units = [1] * len(sizes) if blocks is None else list(blocks)
    least = sum(min(at_least + unit - 1, size) for size, unit in zip(sizes, units, strict=True) if at_least)
    if least > keep:
        such = " and this pattern" if max(units) > 1 else ""
        raise DensityError(
            f"density is {density}; with at least {at_least} weights a layer{such} it can be from {least / sum(sizes):.6f}. Ask for "
            "that, or give a smaller at_least."
        )


@torch.no_grad()
def guarded(scores: Sequence[Tensor], at_least: int) -> list[Tensor]:
    """``scores`` with the highest ``at_least`` of each tensor at infinity, so that they are chosen whatever happens."""
    if not at_least:
        return list(scores)
    found: list[Tensor] = []
    for score in scores:
        flat = score.detach().flatten().clone()
        flat[flat.topk(min(at_least, flat.numel())).indices] = torch.inf
        found.append(flat.view_as(score))
    return found


def strongest(scores: Mapping[str, Tensor], density: float, at_least: int) -> tuple[dict[str, Tensor], float]:
    """Masks of the highest scores, a share ``density`` of them all, and the highest score among the rest.

    Args:
        scores: Name to scores, not negative; infinite is kept whatever happens.
        density: Share that is kept.
        at_least: Places that every tensor keeps.

    Raises:
        DensityError: If ``at_least`` asks for more than ``density`` keeps.
    """
    sizes = [score.numel() for score in scores.values()]
    keep = max(1, round(density * sum(sizes)))
    check_guard(density, keep, sizes, at_least)
    kept = dict(zip(scores, top_masks(guarded(list(scores.values()), at_least), keep), strict=True))
    return kept, max(float(score.masked_fill(kept[name], 0.0).max()) for name, score in scores.items())


class ExactThreshold:
    """Finds the α for which exactly ``keep`` magnitudes are larger, quickly when α moves little between calls.

    Only the magnitudes near the last answer are sorted. On an accelerator, where there is no last answer near, the search is a
    bisection over the bits of the float.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._flat: Tensor | None = None
        self._last: float | None = None

    @torch.no_grad()
    def __call__(self, weights: Sequence[Tensor], scales: Sequence[Tensor | float], keep: int) -> Tensor:
        """α such that ``|w| / scale > α`` holds for exactly ``keep`` weights (fewer only where values tie).

        Args:
            weights: Tensors of any shapes.
            scales: One positive factor per tensor.
            keep: Number of weights to keep, at most their count.
        """
        return self._search(self._magnitudes(weights, scales), keep)

    @torch.no_grad()
    def levels(
        self, weights: Sequence[Tensor], scales: Sequence[Tensor | float], keep: int, at_least: int
    ) -> tuple[Tensor, list[Tensor]]:
        """α and the level of each tensor: α, or where fewer than ``at_least`` exceed that, what exactly so many do.

        Together exactly ``keep`` weights exceed the levels. Where no tensor has too few, α is that of a plain call.

        Args:
            weights: Tensors of any shapes.
            scales: One positive factor per tensor.
            keep: Number of weights to keep, at most their count and at least what every tensor must have.
            at_least: Weights that each tensor keeps, or all where it has no more.
        """
        flat = self._magnitudes(weights, scales)
        parts = flat.split([w.numel() for w in weights])
        alpha = self._search(flat, keep)
        if not at_least or keep >= self._count or not starved(parts, alpha, at_least):
            return alpha, [alpha] * len(parts)
        least: list[Tensor] = []
        own: list[Tensor] = []
        for part in parts:
            count = min(at_least, part.numel())
            top = part.topk(min(count + 1, part.numel()))
            least.append(top.values[count - 1])
            own.append(top.values[count] if top.values.numel() > count else top.values.new_zeros(()))
            part[top.indices[:count]] = torch.inf
        alpha = self._search(flat, keep)
        return alpha, [torch.where(w > alpha, alpha, o) for w, o in zip(least, own, strict=True)]

    def _search(self, flat: Tensor, keep: int) -> Tensor:
        if keep >= self._count:
            return flat.new_zeros(())
        alpha = self._near(flat, keep)
        if alpha is None:
            alpha = flat.kthvalue(self._count - keep).values if flat.is_cpu else bisected(flat, keep)
        self._last = float(alpha)
        return alpha

    def _magnitudes(self, weights: Sequence[Tensor], scales: Sequence[Tensor | float]) -> Tensor:
        if self._flat is None:
            dtype = torch.promote_types(weights[0].dtype, torch.float32)
            self._flat = torch.empty(self._count, dtype=dtype, device=weights[0].device)
        for part, weight, scale in zip(
            self._flat.split([w.numel() for w in weights]), weights, scales, strict=True
        ):
            if weight.dtype == part.dtype:
                torch.abs(weight.detach().flatten(), out=part)
            else:
                part.copy_(weight.detach().flatten().abs())
            if isinstance(scale, Tensor) or scale != 1.0:
                part.div_(scale)
        return self._flat

    def _near(self, flat: Tensor, keep: int) -> Tensor | None:
        """The answer if it lies close to the last one."""
        if not self._last:
            return None
        among = _place_in_memory if flat.is_cpu else _place
        for width in (1.01, 1.1):
            found = among(flat, self._last / width, self._last * width, keep)
            if found is not None:
                return found
        return None


def _place_in_memory(flat: Tensor, low: float, high: float, keep: int) -> Tensor | None:
    """:func:`_place` on the CPU, where NumPy selects several times faster than torch."""
    values = flat.numpy()
    more = keep - int(np.count_nonzero(values > high))
    band = values[(values > low) & (values <= high)]
    if not 0 <= more < band.size:
        return None
    place = band.size - more - 1
    return flat.new_tensor(np.partition(band, place)[place])


def _place(flat: Tensor, low: float, high: float, keep: int) -> Tensor | None:
    """The (keep + 1)-th largest value if it lies in (low, high]."""
    more = keep - int((flat > high).sum())  # how many of the band survive
    band = flat[(flat > low) & (flat <= high)] if more >= 0 else flat[:0]
    return band.sort(descending=True).values[more] if 0 <= more < len(band) else None


def starved(parts: Sequence[Tensor], alpha: Tensor, at_least: int) -> bool:
    """Whether a tensor has fewer than ``at_least`` values above α."""
    if parts[0].is_cpu:  # NumPy counts fastest
        level = alpha.item()
        return any(np.count_nonzero(p.numpy() > level) < min(at_least, p.numel()) for p in parts)
    return _starved(parts, alpha, at_least)


def _starved(parts: Sequence[Tensor], alpha: Tensor, at_least: int) -> bool:
    """:func:`starved` on an accelerator; one number is read back."""
    if at_least == 1:  # one pass over all tensors together
        largest = torch._foreach_norm(list(parts), torch.inf)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        return bool((torch.stack(largest) <= alpha).any())
    counts = torch.stack([(part > alpha).sum() for part in parts]).tolist()
    return any(count < min(at_least, p.numel()) for count, p in zip(counts, parts, strict=True))


def bisected(flat: Tensor, keep: int, sizes: Tensor | None = None) -> Tensor:
    """The (keep + 1)-th largest of non-negative floats, each there ``sizes`` times: their order is that of their bits as integers."""
    bits = flat.float().view(torch.int32)
    answer = torch.zeros((), dtype=torch.int32, device=flat.device)
    for bit in range(30, -1, -1):
        trial = answer | (1 << bit)
        # more than `keep` values are >= trial  <=>  the (keep + 1)-th largest is >= trial
        reach = bits >= trial if sizes is None else sizes * (bits >= trial)
        answer = torch.where(reach.sum() > keep, trial, answer)
    return answer.view(torch.float32).to(flat.dtype)
