"""From scores to what survives: masks at an exact density, whatever the distribution and the shape, and groups to within one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from secateur.problem import Components, check_choice, check_count
from secateur.pruning.density import DensityError
from secateur.pruning.distribution import Distribution, Quotas, counts, erk, quotas
from secateur.pruning.groups import Groups
from secateur.pruning.masks import top_masks
from secateur.pruning.pattern import Pattern, best_blocks, first_blocks

_LOWEST = torch.finfo(torch.float32).min


@torch.no_grad()
def select(
    scores: Mapping[str, Tensor],
    density: float,
    *,
    distribution: Distribution | Quotas = "global",
    components: Components | None = None,
    pattern: Pattern | None = None,
    at_least: int = 1,
    power: float = 1.0,
) -> dict[str, Tensor]:
    """Masks of the best weights; exactly ``round(density · weights)`` survive (of blocks: to within half a block).

    Args:
        scores: Weight name to scores of its shape; NaN counts as worth nothing.
        density: Kept fraction of all weights together.
        distribution: ``"global"`` compares all weights; ``"uniform"`` keeps the same share of every layer, ``"erk"`` the
            Erdős-Rényi-Kernel share, ``"component"`` the same share of every component. ``{component: density}`` gives
            components their own densities, exactly; the others, compared with each other, take what is left of ``density``.
            Where none is left out, the densities must come to ``density``.
        components: For ``"component"`` and ``{component: density}``: name to weight names.
        pattern: What shape survives; single weights if None.
        at_least: Weights that every layer keeps whatever their scores, so that none dies; of blocks, as many as hold them.
        power: Of the Erdős-Rényi-Kernel: 1 in RigL, 0.9 in DiSparse.

    Raises:
        DensityError: If the density cannot be reached under these constraints; it says what can.
        ValueError: If ``distribution`` is unknown, ``components`` do not fit it, or ``at_least`` is no count.
    """
    check_choice("distribution", distribution, Distribution)
    check_count("at_least", at_least, 0)
    shape = pattern or Pattern()
    size = sum(score.numel() for score in scores.values())
    groups, wanted = _groups(scores, density, distribution, components, power)
    ranked = {name: _ranked(score, shape, at_least) for name, score in scores.items()}

    def count(group: str, what: Callable[[Tensor], Tensor]) -> int:
        return sum(int(what(ranked[name]).sum()) for name in groups[group])

    least = {group: count(group, lambda score: score == torch.inf) for group in groups}
    most = {group: count(group, lambda score: score > -torch.inf) for group in groups}
    if isinstance(distribution, dict):
        budget = {group: round(share) for group, share in wanted.items()}
        for group, keep in budget.items():
            if not least[group] <= keep <= most[group]:
                raise DensityError(
                    f"distribution leaves {keep} weights to {group or 'the other components'}; with at least {at_least} weights a "
                    f"layer and this pattern it can have from {least[group]} to {most[group]}."
                )
    else:
        budget = _budget(density, size, at_least, wanted, least, most)
    share: Mapping[str, float] = budget
    if (
        shape.blocks and len(groups) == 1
    ):  # a count that is rounded first would add half a weight to the half block
        (only,) = groups
        share = {only: min(max(density * size, least[only]), most[only])}
    found: dict[str, Tensor] = {}
    owed = 0.0  # what whole blocks of other groups lack or have too much; the largest group, which can make up for it, is the last
    for group in sorted(groups, key=lambda group: most[group]):
        keep = min(max(share[group] + owed, least[group]), most[group])
        chosen = _best({name: ranked[name] for name in groups[group]}, keep, shape)
        owed += share[group] - sum(int(mask.sum()) for mask in chosen.values())
        found |= chosen
    return {name: found[name] for name in scores}


def share(kept: Mapping[str, float], costs: Mapping[str, float]) -> float:
    """Share of the costs that is left when ``kept``, a fraction of each weight, is; weights without costs do not count."""
    return sum(kept[name] * cost for name, cost in costs.items()) / sum(costs.values())


def survivors(
    groups: Groups, scores: Tensor, measure: Callable[[Tensor], float], density: float, floor: float = 0.0
) -> Tensor:
    """The groups to keep so that ``measure`` is at most ``density``, and the revival of the last to die would exceed it.

    Groups die in the order of their scores; the strongest of each weight (:meth:`Groups.strongest`) never dies. One that is so
    large that its death would take ``measure`` below ``floor`` lives, and those after it die instead, where they suffice.

    Args:
        groups: The partition.
        scores: (count,), higher survives longer; infinite never dies.
        measure: alive, (count,) bool, to the kept share; falls with every death.
        density: The share asked.
        floor: The share that is to be left in the end, at most ``density``.

    Returns:
        alive, (count,) bool.

    Raises:
        DensityError: If the share stays above ``density`` when all but the groups that must live are dead.
    """
    pinned = groups.strongest(scores) | scores.isinf()
    order = scores.masked_fill(pinned, torch.inf).argsort(stable=True)[: groups.count - int(pinned.sum())]

    def after(deaths: Tensor) -> Tensor:
        alive = torch.ones_like(pinned)
        alive[deaths] = False
        return alive

    def least(order: Tensor) -> int:
        """How many of them must die."""
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            if measure(after(order[:middle])) <= density + 1e-9:
                high = middle
            else:
                low = middle + 1
        return high

    if (reached := measure(after(order))) > density + 1e-9:
        raise DensityError(
            f"density is {density}, but the groups reach no less than {reached:.4f}: every weight keeps an input and an output, "
            f"and some channels belong to no group{_said(groups.pins)}. Ask for more than that, or give other groups."
        )
    deaths = least(order)
    by_score = alive = after(order[:deaths])
    while (
        deaths and scores[order[deaths - 1]] > 0 and measure(alive) < floor
    ):  # one of score 0 is dead already
        order = torch.cat([order[: deaths - 1], order[deaths:]])
        if measure(after(order)) > density + 1e-9:
            return by_score  # too much of the network is in groups that large
        deaths = least(order)
        alive = after(order[:deaths])
    return alive


def say_large(groups: Groups, weights: Mapping[str, Tensor], left: float, density: float) -> None:
    """Warns that ``left`` is less than was asked, since whole groups go, and names the largest."""
    sizes = groups.sizes(weights)
    names = [name for name, ids in groups.index.items() if (ids == int(sizes.argmax())).any()]
    warnings.warn(
        f"density is {density}, and {left:.3f} is left: whole groups go, and the largest has {float(sizes.max() / sizes.sum()):.0%} "
        f"of what is grouped (in {', '.join(names[:3])}{' and others' if names[3:] else ''}). Ask for what the groups can come to, "
        "or give smaller ones.",
        stacklevel=5,
    )


def _budget(
    density: float,
    size: int,
    at_least: int,
    wanted: dict[str, float],
    least: dict[str, int],
    most: dict[str, int],
) -> dict[str, int]:
    keep = round(density * size)
    if not max(1, sum(least.values())) <= keep <= sum(most.values()):
        raise DensityError(
            f"density is {density}; with at least {at_least} weights a layer and this pattern it can be from "
            f"{max(1, sum(least.values())) / size:.6f} to {sum(most.values()) / size:.6f}."
        )
    return counts(wanted, keep, least, most)


def _groups(
    scores: Mapping[str, Tensor],
    density: float,
    distribution: Distribution | Quotas,
    components: Components | None,
    power: float,
) -> tuple[Components, dict[str, float]]:
    """What is compared with what, and the number of weights that each group should keep."""
    sizes = {name: score.numel() for name, score in scores.items()}
    if isinstance(distribution, dict):
        if components is None:
            raise ValueError(f"distribution is {distribution}, but no components are given.")
        whole = {c: sum(sizes[n] for n in members) for c, members in components.items()}
        kept = quotas(distribution, whole, density)
        rest = tuple(n for c, members in components.items() if c not in kept for n in members)
        return {c: components.get(c, rest) for c in kept}, {c: float(count) for c, count in kept.items()}
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
            shares = erk({name: score.shape for name, score in scores.items()}, density, power)
            return {name: (name,) for name in scores}, {n: shares[n] * size for n, size in sizes.items()}
    return groups, {g: density * sum(sizes[n] for n in members) for g, members in groups.items()}


def _ranked(score: Tensor, shape: Pattern, at_least: int) -> Tensor:
    """Scores with -inf where the pattern lets nothing survive, and inf for what is kept whatever happens."""
    wide = score.detach().to(torch.promote_types(score.dtype, torch.float32))
    ranked = torch.nan_to_num(wide, nan=_LOWEST, posinf=-_LOWEST, neginf=_LOWEST)
    ranked = ranked.masked_fill(~shape.allowed(ranked), -torch.inf)
    pooled = shape.pooled(ranked)
    forced = first_blocks(pooled, shape.sizes(ranked), at_least)
    forced &= pooled > -torch.inf  # never what the pattern forbids
    return ranked.masked_fill(shape.spread(forced, ranked.shape), torch.inf)


def _best(ranked: Mapping[str, Tensor], keep: float, shape: Pattern) -> dict[str, Tensor]:
    if keep <= 0:
        return {name: torch.zeros_like(score, dtype=torch.bool) for name, score in ranked.items()}
    if not shape.blocks:
        return dict(zip(ranked, top_masks(list(ranked.values()), round(keep)), strict=True))
    found = best_blocks(
        [shape.pooled(s) for s in ranked.values()], [shape.sizes(s) for s in ranked.values()], keep
    )
    return {name: shape.spread(mask, ranked[name].shape) for name, mask in zip(ranked, found, strict=True)}


def _said(pins: Mapping[str, int], most: int = 4) -> str:
    worst = sorted(pins.items(), key=lambda item: -item[1])[:most]
    return f" ({', '.join(f'{count} stay: {why}' for why, count in worst)})" if worst else ""
