"""How much where: what share of its weights each layer keeps so that the whole keeps a given density."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from secateur.problem import is_number
from secateur.pruning.density import DensityError

Distribution = Literal["global", "uniform", "erk", "component"]
Quotas = dict[str, float]
"""Component to its own density."""
_NEAR = 0.0005  # a density is met to 0.05 percentage points


def erk(shapes: Mapping[str, Sequence[int]], density: float, power: float = 1.0) -> dict[str, float]:
    """Erdős-Rényi-Kernel densities: layer d ∝ (Σ dims / Π dims)^power, none above 1 (RigL, Evci et al. 2020).

    Args:
        shapes: Layer to its weight's shape, (out, in / groups, kernel...).
        density: Kept fraction of all weights together.
        power: 1 in RigL, 0.9 in DiSparse.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: (sum(shape) / sizes[name]) ** power for name, shape in shapes.items()}
    full: set[str] = set()
    while True:
        rest = density * sum(sizes.values()) - sum(sizes[name] for name in full)
        weight = sum(raw[name] * sizes[name] for name in shapes if name not in full)
        factor = rest / weight if weight else 0.0
        over = {name for name in shapes if name not in full and factor * raw[name] > 1.0}
        if not over:
            return {name: 1.0 if name in full else factor * raw[name] for name in shapes}
        full |= over


def counts(
    wanted: Mapping[str, float], total: int, least: Mapping[str, int], most: Mapping[str, int]
) -> dict[str, int]:
    """Whole numbers of survivors that add up to ``total``, within bounds and otherwise in proportion to ``wanted``.

    Args:
        wanted: Group to the survivors it should have, not rounded.
        total: Survivors in all.
        least: Group to the fewest it may have.
        most: Group to the most it can have.

    Raises:
        DensityError: If the bounds leave no room for ``total``.
    """
    if not sum(least.values()) <= total <= sum(most.values()):
        raise DensityError(
            f"{total} survivors are out of reach; from {sum(least.values())} to {sum(most.values())} are possible."
        )

    def bounded(factor: float) -> dict[str, float]:
        return {g: min(max(factor * value, least[g]), most[g]) for g, value in wanted.items()}

    low, high = 0.0, 1.0
    while sum(bounded(high).values()) < total and high < 1e12:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if sum(bounded(middle).values()) >= total else (middle, high)
    exact = bounded(high)
    found = {g: math.floor(value + 1e-9) for g, value in exact.items()}
    for group in sorted(found, key=lambda g: found[g] - exact[g]):  # the largest remainders are rounded up
        if sum(found.values()) == total:
            break
        found[group] += found[group] < most[group]
    return found


def quotas(shares: Mapping[str, float], sizes: Mapping[str, int], density: float) -> dict[str, int]:
    """Survivors of each component that has a density of its own, and under ``""`` of all the others together.

    Args:
        shares: Component to its density, in (0, 1].
        sizes: Component to its weights, of all components.
        density: Kept fraction of all weights together. Where every component has a density of its own, they must come to it,
            to 0.05 percentage points.

    Raises:
        ValueError: If there is no such component or a density is out of range.
        DensityError: If together they do not come to ``density``.
    """
    unknown = sorted(shares.keys() - sizes.keys())
    if unknown or not shares:
        raise ValueError(
            f"distribution names {unknown or 'no component'}; the components are {sorted(sizes)}, each with its own density."
        )
    for name, share in shares.items():
        if not is_number(share) or not 0.0 < share <= 1.0:
            raise ValueError(
                f"distribution gives {name!r} the density {share}; it is the kept fraction and must lie in (0, 1]."
            )
    found = {name: round(share * sizes[name]) for name, share in shares.items()}
    size, taken = sum(sizes.values()), sum(found.values())
    free = size - sum(sizes[name] for name in shares)
    rest = round(density * size) - taken
    if not free:
        if abs(rest) > _NEAR * size + 0.5 * len(found):
            raise DensityError(
                f"density is {density}, but distribution names all components and comes to {taken / size:.6f}; ask for "
                "that density, or leave out a component, which then takes what is left."
            )
        return found
    if not 0 <= rest <= free:
        raise DensityError(
            f"density is {density}, but distribution alone comes to {taken / size:.6f} and leaves {rest} of {free} weights to "
            f"the other components; from {taken / size:.6f} to {(taken + free) / size:.6f} are possible."
        )
    return {**found, "": rest}
