"""AdapMTL's thresholds, one for each layer or component, driven by a schedule to the exact density (ACM MM 2024, section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.problem import By
from secateur.pruning import (
    BlockThreshold,
    Effect,
    ExactThreshold,
    Form,
    Shrinkage,
    Thresholded,
    check_cycles,
    cost_offsets,
    cyclic_density,
    marginal_cost,
    scale_offset,
)

_EVERY = 10  # steps between two looks at costs and scales
_BAND, _MEMORY, _POWER = 0.2, 0.9, 0.5


class SoftThreshold(Thresholded):
    """Prunes with one threshold per layer, or per component, while training; the density follows a schedule exactly.

    Every step the common level α is set so that exactly the scheduled number of weights exceeds the threshold
    α_c = α·exp(u_c) of its component. At the end of the ramp, or later, the survivors' shrinkage is baked in, the mask is
    frozen, and they go on training.

    Args:
        density: Kept fraction of the prunable weights at the end of the ramp, in (0, 1]; 1 is dense training.
        components: Partition of the weights that share a threshold; see :func:`secateur.problem.components.components`. By layer
            narrow layers keep more at extreme sparsity; ``"owner"``, backbone and heads, is AdapMTL's own.
        ramp: Shares of the steps at which the density begins to fall and reaches its target.
        shrinkage: ``"garrote"`` shrinks large survivors less than ``"soft"``, AdapMTL's own form; ``"rescaled"`` is soft with
            each output channel scaled up for what it lost (ST-3); ``"feather"``, sign(w)·(|w|³ − α³)^⅓, shrinks them least
            (Feather, BMVC 2023, arXiv 2310.02448).
        allocation: What sets the offsets u_c. ``"cost"``: what the tasks lose by a weight at the threshold
            (:func:`secateur.pruning.allocation.marginal_cost`). ``"scale"``: half the log rms of the component's weights.
            ``"common"``: none, one threshold for all.
        evenness: For ``"cost"``: share of the log cost that is evened out, in [0, 1].
        bound: For ``"cost"``: largest offset, of the log of a threshold.
        straight_through: Pruned weights keep receiving gradients until the freeze, so that they can come back
            (ST-3, arXiv 2212.01076). Otherwise AdapMTL's Eq. 4, no gradient below the threshold; soft only.
        at_least: Weights that every layer keeps, so that none dies; one that would has a threshold of its own, the largest of
            what it does not keep. 0 is as published.
        pattern: What shape survives: ``"unstructured"``, or a block such as ``"4x1"``, four output channels by one input channel,
            which a threshold shrinks as a whole by the root mean square of its weights (Yuan and Lin 2006).
        freeze: Share of the steps at which the mask is frozen; the end of the ramp if None. Between the two the density and the
            offsets stay and weights still come and go; with 1 they do to the end (Feather).
        below: Factor of the gradient of pruned weights, in [0, 1]. None is 1, with ``"feather"`` 0.5 where less than 5 % of
            the weights are to stay, as published.
        cycles: How often the density falls, in equal parts of the ramp; once if None. At extreme sparsity several times let a weight
            come back that went too early (cyclical pruning, Srinivas et al. 2022, arXiv 2202.01290).
        rebound: Share of the pruned weights that come back when a further cycle begins; 0.3 if None, 1 as published.

    Raises:
        ValueError: If a setting is out of range, or the density out of reach under them (in ``start``).
    """

    def __init__(
        self,
        density: float = 0.1,
        components: By = "layer",
        ramp: tuple[float, float] = (0.1, 0.8),
        shrinkage: Form = "garrote",
        allocation: Literal["cost", "scale", "common"] = "cost",
        evenness: float = 0.5,
        bound: float = 1.0,
        straight_through: bool = True,
        at_least: int = 1,
        *,
        pattern: str = "unstructured",
        freeze: float | None = None,
        below: float | None = None,
        cycles: int | None = None,
        rebound: float | None = None,
    ) -> None:
        super().__init__(density, components, ramp, at_least, pattern)
        if shrinkage != "soft" and not straight_through:
            raise ValueError(
                f"shrinkage {shrinkage!r} needs straight_through; choose shrinkage 'soft' for the published gradient."
            )
        if not 0 <= evenness <= 1 or not bound >= 0:
            raise ValueError(
                f"evenness is {evenness} and bound {bound}; give evenness in [0, 1] and a bound of 0 or more."
            )
        if freeze is not None and not ramp[1] <= freeze <= 1.0:
            raise ValueError(
                f"freeze is {freeze} and the ramp ends at {ramp[1]}; give a share of the steps from there up to 1."
            )
        if below is not None and not (straight_through and 0.0 <= below <= 1.0):
            raise ValueError(
                f"below is {below}; give a factor in [0, 1], and straight_through, without which pruned weights have no gradient."
            )
        self.evenness, self.bound = evenness, bound
        self.allocation, self.straight_through = allocation, straight_through
        self.shrinkage: Form = shrinkage
        check_cycles(cycles, rebound)
        self.freeze, self.below = freeze, below
        self.cycles, self.rebound = cycles, rebound

    def thresholds(self) -> dict[str, Tensor]:
        """Component to α_c, without a layer's own where that is lower; after the freeze that of the freeze."""
        return {} if self.density == 1.0 else self._alpha

    def state_dict(self) -> dict[str, Any]:
        """Thresholds, offsets, costs, whose costs are due and, after the freeze, the mask."""
        return {**super().state_dict(), "due": list(self._due)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the thresholds or the frozen mask."""
        super().load_state_dict(state)
        self._due = list(state["due"])

    def _begin(self, like: nn.Parameter) -> None:
        """Thresholds of zero."""
        self._component_of = {name: c for c, names in self.partition.items() for name in names}
        dtype = torch.promote_types(like.dtype, torch.float32)
        zero = torch.zeros((), dtype=dtype, device=like.device)
        # One tensor of all and views of it by name, since a GPU takes as long to begin with one number as with a hundred.
        self._alphas, self._alpha = _stacked(zero, self.partition)
        self._offsets, self._offset = _stacked(zero, self.partition)
        self._levels, self._level = _stacked(zero, self.weights)
        place = {component: row for row, component in enumerate(self.partition)}
        rows = [place[self._component_of[name]] for name in self.weights]
        self._rows = torch.tensor(rows, device=like.device)  # of each weight's component
        self._cost = {c: torch.full_like(zero, torch.nan) for c in self.partition}
        self._due: list[str] = []
        count = sum(p.numel() for p in self.weights.values())
        self._find = BlockThreshold(self.pattern) if self.pattern.blocks else ExactThreshold(count)

    def _effects(self) -> dict[str, Effect]:
        halved = self.shrinkage == "feather" and self.density < 0.05
        below = self.below if self.below is not None else 0.5 if halved else 1.0
        return {
            n: Shrinkage(a, self.straight_through, self.shrinkage, self.pattern, below)
            for n, a in self._level.items()
        }

    def _memory(self) -> dict[str, dict[str, Tensor]]:
        return {"alpha": self._alpha, "offset": self._offset, "cost": self._cost, "level": self._level}

    def _move(self, step: int, optimizer: Optimizer) -> bool:
        """To the scheduled density; the mask is frozen when it is time."""
        progress = step / self.steps
        density = cyclic_density(progress, self.density, self.ramp, self.cycles, self.rebound)
        if density < 1.0 and (self.freeze is None or progress <= self.ramp[1]):
            self._allocate(step)
        end = self.ramp[1] if self.freeze is None else self.freeze
        if step >= max(1, round(end * self.steps)):
            return True
        if progress > self.ramp[0]:
            factors = self._offsets.exp()
            level, own = self._find.levels(
                list(self.weights.values()), list(self._scales().values()), self._keep(density), self.at_least
            )
            self._alphas.copy_(level * factors)
            self._levels.copy_(torch.stack(own) * factors[self._rows])
        return False

    def _allocate(self, step: int) -> None:
        """Sets the offsets u_c at every so many steps; nothing is read back to the host."""
        if self.allocation == "common" or len(self.partition) == 1:
            return
        if step % _EVERY == 0:
            self._due = list(self.partition)
        own = {c: [self.weights[name] for name in self.partition[c]] for c in self._due}
        if self.allocation == "scale":
            self._due = []
            for component, weights in own.items():
                self._offset[component].copy_(scale_offset(weights, _POWER))
        else:
            self._look({c: found for c, found in own.items() if any(w.grad is not None for w in found)})

    def _look(self, reached: Mapping[str, list[nn.Parameter]]) -> None:
        """Costs and offsets of components with gradients; what a batch without its task has left out stays due."""
        for component, weights in reached.items():
            cost = marginal_cost(
                weights, [w.grad for w in weights], self._alpha[component], _BAND, self.pattern
            )
            old = self._cost[component]
            cost = torch.where(cost.isfinite(), cost, old)  # nothing in the band: what was known stands
            old.copy_(torch.where(old.isfinite(), _MEMORY * old + (1 - _MEMORY) * cost, cost))
        if reached:
            self._due = [component for component in self._due if component not in reached]
            sizes = {c: sum(self.weights[n].numel() for n in names) for c, names in self.partition.items()}
            for component, offset in cost_offsets(self._cost, sizes, self.evenness, self.bound).items():
                self._offset[component].copy_(offset)

    def _scales(self) -> dict[str, Tensor | float]:
        """The factor exp(u_c) of each weight's threshold."""
        if self.allocation == "common" or len(self.partition) == 1:
            return dict.fromkeys(self.weights, 1.0)
        return dict(zip(self.weights, self._offsets.exp()[self._rows].unbind(), strict=True))


def _stacked(zero: Tensor, names: Iterable[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Zeros, (names,), and name to its own, a view."""
    names = list(names)
    whole = zero.repeat(len(names))
    return whole, dict(zip(names, whole.unbind(), strict=True))
