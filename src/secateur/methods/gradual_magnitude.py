"""Gradual magnitude pruning (Zhu and Gupta 2017, arXiv 1710.01878)."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from secateur.problem import Problem, components
from secateur.pruning import (
    DensityError,
    Distribution,
    Masked,
    Pattern,
    Quotas,
    Scores,
    check_cycles,
    check_ramp,
    cyclic_density,
    magnitudes,
    select,
)


class GradualMagnitude(Masked):
    """Removes the smallest weights along the cubic schedule; what is pruned stays pruned, unless there are cycles.

    When a further cycle begins, all weights train until the next pruning, those that were pruned from zero on; then the
    largest stay.

    Args:
        density: Kept fraction of the prunable weights at the end of the ramp, in (0, 1]; 1 is dense training.
        ramp: Shares of the steps at which the density begins to fall and reaches its target.
        every: Steps between two prunings.
        distribution: How much where: ``"global"`` as here usual, ``"uniform"`` per layer, ``"erk"``, the same per
            ``"component"``, or ``{component: density}``: a component's own density, exactly, at the end of a cubic schedule
            of its own; components that are not named share what is left of ``density``, and where all are named they must
            come to it. Components are those of ``components(problem)``: backbone and heads.
        pattern: What shape survives: ``"unstructured"``, N:M such as ``"2:4"``, or a block such as ``"1x4"``.
        at_least: Weights that every layer keeps, so that none dies; 0 is the published method.
        cycles: How often the density falls, in equal parts of the ramp; once if None. At extreme sparsity several times let a weight
            come back that went too early (cyclical pruning, Srinivas et al. 2022, arXiv 2202.01290).
        rebound: Share of the pruned weights that come back when a further cycle begins; 0.3 if None, 1 as published.

    Raises:
        ValueError: If a setting is out of range, or the density out of reach under them (in ``start``).
    """

    def __init__(
        self,
        density: float = 0.1,
        ramp: tuple[float, float] = (0.1, 0.6),
        every: int = 10,
        *,
        distribution: Distribution | Quotas = "global",
        pattern: str = "unstructured",
        at_least: int = 1,
        cycles: int | None = None,
        rebound: float | None = None,
    ) -> None:
        super().__init__(density)
        check_ramp(ramp)
        check_cycles(cycles, rebound)
        if every < 1:
            raise ValueError(f"every is {every}; give at least 1 step between two prunings.")
        self.ramp = ramp
        self.every = every
        self.distribution: Distribution | Quotas = distribution
        self.pattern = Pattern.parse(pattern)
        self.at_least = at_least
        self.cycles, self.rebound = cycles, rebound

    def start(self, problem: Problem, steps: int) -> None:
        """Begins with everything kept; raises now if the density is out of reach later."""
        super().start(problem, steps)
        self._frozen, self._components = False, components(problem)  # now: a layer may be frozen on the way
        if self.density < 1.0:
            self._select(1.0)

    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """Prunes every few steps until the target is reached."""
        last = max(1, self.at_step(self.ramp[1]))
        if self.density == 1.0 or self._frozen or (step % self.every and step < last):
            return
        self._frozen = step >= last
        progress = 1.0 if self._frozen else step / self.steps
        due = self._density(progress, self.density)
        if not self._frozen and due > self._density((step - self.every) / self.steps, self.density):
            everything = {n: torch.ones_like(mask) for n, mask in self.masks.masks.items()}
            self.masks.replace_(everything, optimizer)
            return
        if not self._frozen and due >= self._most():
            return
        try:
            masks = self._select(progress)
            if self._frozen:
                self._say_ties(masks)
            self.masks.replace_(masks, optimizer)
        except (
            DensityError
        ):  # on the way a component may be too dense for its pattern; in the end it must not be
            if self._frozen:
                raise

    def finish(self) -> None:
        """Leaves plain weights, at the density asked even if training was shorter than the ramp."""
        if self.density < 1.0 and not self._frozen:
            self.masks.replace_(self._select(1.0), None)
        super().finish()

    def settled(self) -> bool:
        """Whether the masks are final."""
        return self.density == 1.0 or self._frozen

    def state_dict(self) -> dict[str, Any]:
        """The masks, and whether they are final."""
        return {**super().state_dict(), "frozen": self._frozen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the masks."""
        super().load_state_dict(state)
        self._frozen = state["frozen"]

    def _density(self, progress: float, density: float) -> float:
        return cyclic_density(progress, density, self.ramp, self.cycles, self.rebound)

    def _most(self) -> float:
        """Densities from here up the pattern cannot have; it is left out until the ramp falls below."""
        return self.pattern.densest if self.pattern.of else 1.0 + 1e-12

    def _select(self, progress: float) -> Scores:
        """The masks that are due when a share ``progress`` of the steps is done."""
        due: Distribution | Quotas = self.distribution
        if isinstance(due, dict):
            due = {c: self._density(progress, share) for c, share in due.items()}
        return select(
            magnitudes(self.weights, self.masks.masks),
            self._density(progress, self.density),
            distribution=due,
            components=self._components,
            pattern=self.pattern,
            at_least=self.at_least,
        )
