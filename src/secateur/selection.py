"""From scores to masks at an exact density: what score, how much where and what shape, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from secateur.components import Components
from secateur.distribution import Distribution, counts, erk
from secateur.masks import top_masks
from secateur.pattern import Pattern

_LOWEST = torch.finfo(torch.float32).min


@torch.no_grad()
def select(
    scores: Mapping[str, Tensor],
    density: float,
    *,
    distribution: Distribution = "global",
    components: Components | None = None,
    pattern: Pattern | None = None,
    at_least: int = 1,
) -> dict[str, Tensor]:
    """Masks of the best weights; exactly ``round(density · weights)`` survive (of blocks: to within half a block).

    Args:
        scores: Weight name to scores of its shape; NaN counts as worth nothing.
        density: Kept fraction of all weights together.
        distribution: ``"global"`` compares all weights; ``"uniform"`` keeps the same share of every layer, ``"erk"`` the
            Erdős-Rényi-Kernel share, ``"component"`` the same share of every component.
        components: For ``"component"``: name to weight names.
        pattern: What shape survives; single weights if None.
        at_least: Weights that every layer keeps whatever their scores, so that none dies.

    Raises:
        ValueError: If the density cannot be reached under these constraints; it says what can.
    """
    shape = pattern or Pattern()
    size = sum(score.numel() for score in scores.values())
    groups, wanted = _groups(scores, density, distribution, components)
    ranked = {name: _ranked(score, shape, at_least) for name, score in scores.items()}

    def count(group: str, what: Callable[[Tensor], Tensor]) -> int:
        return sum(int(what(ranked[name]).sum()) for name in groups[group])

    least = {group: count(group, lambda score: score == torch.inf) for group in groups}
    most = {group: count(group, lambda score: score > -torch.inf) for group in groups}
    keep = round(density * size)
    if not max(1, sum(least.values())) <= keep <= sum(most.values()):
        raise ValueError(
            f"density is {density}; with at least {at_least} weights a layer and this pattern it can be from "
            f"{max(1, sum(least.values())) / size:.6f} to {sum(most.values()) / size:.6f}."
        )
    budget = counts(wanted, keep, least, most)
    found: dict[str, Tensor] = {}
    for group, members in groups.items():
        found |= _best({name: ranked[name] for name in members}, budget[group], shape)
    return {name: found[name] for name in scores}


def _groups(
    scores: Mapping[str, Tensor], density: float, distribution: Distribution, components: Components | None
) -> tuple[Components, dict[str, float]]:
    """What is compared with what, and the number of weights that each group should keep."""
    sizes = {name: score.numel() for name, score in scores.items()}
    match distribution:
        case "global":
            groups = {"all": tuple(scores)}
        case "component":
            if components is None:
                raise ValueError("distribution is 'component', but no components are given.")
            groups = components
        case "uniform":
            groups = {name: (name,) for name in scores}
        case "erk":
            shares = erk({name: score.shape for name, score in scores.items()}, density)
            return {name: (name,) for name in scores}, {n: shares[n] * size for n, size in sizes.items()}
    return groups, {g: density * sum(sizes[n] for n in members) for g, members in groups.items()}


def _ranked(score: Tensor, shape: Pattern, at_least: int) -> Tensor:
    """Scores with -inf where the pattern lets nothing survive, and inf for what is kept whatever happens."""
    wide = score.detach().to(torch.promote_types(score.dtype, torch.float32))
    ranked = torch.nan_to_num(wide, nan=_LOWEST, posinf=-_LOWEST, neginf=_LOWEST)
    ranked = ranked.masked_fill(~shape.allowed(ranked), -torch.inf)
    first = ranked.flatten().topk(min(at_least, ranked.numel())).indices
    flat = ranked.flatten().clone()
    flat[first] = torch.inf
    return flat.view_as(ranked)


def _best(ranked: Mapping[str, Tensor], keep: int, shape: Pattern) -> dict[str, Tensor]:
    if not keep:
        return {name: torch.zeros_like(score, dtype=torch.bool) for name, score in ranked.items()}
    if shape.rows == shape.columns == 1:
        return dict(zip(ranked, top_masks(list(ranked.values()), keep), strict=True))
    pooled = {name: shape.pooled(score) for name, score in ranked.items()}
    worth = torch.cat([p.flatten() for p in pooled.values()])
    size = torch.cat([shape.sizes(score).flatten() for score in ranked.values()])
    order = worth.argsort(descending=True, stable=True)
    filled = size[order].cumsum(0)
    mask = torch.zeros_like(worth, dtype=torch.bool)
    mask[order[: max(1, int((filled - size[order] / 2 < keep).sum()))]] = True  # the last block by its half
    mask |= worth == torch.inf  # what must survive does
    parts = mask.split([p.numel() for p in pooled.values()])
    return {
        name: shape.spread(part.view_as(pooled[name]), ranked[name].shape)
        for name, part in zip(pooled, parts, strict=True)
    }
