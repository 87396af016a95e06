"""Gradual magnitude pruning (Zhu and Gupta 2017, arXiv 1710.01878)."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from secateur.components import components
from secateur.distribution import Distribution
from secateur.masked import Masked, magnitudes
from secateur.pattern import Pattern
from secateur.problem import Problem
from secateur.schedules import check_ramp, cubic_density
from secateur.selection import select


class GradualMagnitude(Masked):
    """Removes the smallest weights along the cubic schedule; what is pruned stays pruned.

    Args:
        density: Kept fraction of the prunable weights at the end of the ramp, in (0, 1]; 1 is dense training.
        ramp: Shares of the steps at which the density begins to fall and reaches its target.
        every: Steps between two prunings.
        distribution: How much where: ``"global"`` as here usual, ``"uniform"`` per layer, ``"erk"``, or the same per
            ``"component"``.
        pattern: What shape survives: ``"unstructured"``, N:M such as ``"2:4"``, or a block such as ``"1x4"``.
        at_least: Weights that every layer keeps; the published method has no such guard.
    """

    def __init__(
        self,
        density: float = 0.1,
        ramp: tuple[float, float] = (0.1, 0.6),
        every: int = 10,
        *,
        distribution: Distribution = "global",
        pattern: str = "unstructured",
        at_least: int = 0,
    ) -> None:
        super().__init__(density)
        check_ramp(*ramp)
        if every < 1:
            raise ValueError(f"every is {every}; give at least 1 step between two prunings.")
        self.ramp = ramp
        self.every = every
        self.distribution: Distribution = distribution
        self.pattern = Pattern.parse(pattern)
        self.at_least = at_least

    def start(self, problem: Problem, steps: int) -> None:
        """Begins with everything kept; raises now if the density is out of reach later."""
        super().start(problem, steps)
        self._frozen = False
        if self.density < 1.0:
            self._prune(self.density, None, dry=True)

    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """Prunes every few steps until the target is reached."""
        last = max(1, self.at_step(self.ramp[1]))
        if self.density == 1.0 or self._frozen or (step % self.every and step < last):
            return
        self._frozen = step >= last
        density = cubic_density(step / self.steps, self.density, *self.ramp)
        if density < self._most():
            self._prune(density, optimizer)

    def finish(self) -> None:
        """Leaves plain weights, at the density asked even if training was shorter than the ramp."""
        if self.density < 1.0 and not self._frozen:
            self._prune(self.density, None)
        super().finish()

    def state_dict(self) -> dict[str, Any]:
        """The masks, and whether they are final."""
        return {**super().state_dict(), "frozen": self._frozen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the masks."""
        super().load_state_dict(state)
        self._frozen = state["frozen"]

    def _most(self) -> float:
        """Densities from here up the pattern cannot have; it is left out until the ramp falls below."""
        return self.pattern.most / self.pattern.of if self.pattern.of else 1.0 + 1e-12

    def _prune(self, density: float, optimizer: Optimizer | None, *, dry: bool = False) -> None:
        masks = select(
            magnitudes(self.weights, self.masks.masks),
            density,
            distribution=self.distribution,
            components=components(self.problem),
            pattern=self.pattern,
            at_least=self.at_least,
        )
        if not dry:
            self.masks.replace_(masks, optimizer)
