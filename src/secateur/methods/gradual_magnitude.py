"""Gradual global magnitude pruning (Zhu and Gupta 2017, arXiv 1710.01878)."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from secateur.components import prunable
from secateur.masks import Masks, top_masks
from secateur.problem import Problem
from secateur.schedules import check_density, check_ramp, cubic_density
from secateur.sparsifier import Sparsifier


class GradualMagnitude(Sparsifier):
    """Removes the globally smallest weights along the cubic schedule; what is pruned stays pruned.

    Args:
        density: Kept fraction of the prunable weights at the end of the ramp, in (0, 1]; 1 is dense training.
        ramp: Shares of the steps at which the density begins to fall and reaches its target.
        every: Steps between two prunings.
    """

    def __init__(self, density: float = 0.1, ramp: tuple[float, float] = (0.1, 0.6), every: int = 10) -> None:
        self.density = check_density(density)
        check_ramp(*ramp)
        if every < 1:
            raise ValueError(f"every is {every}; give at least 1 step between two prunings.")
        self.ramp = ramp
        self.every = every

    def start(self, problem: Problem, steps: int) -> None:
        """Begins with everything kept."""
        self._weights = prunable(problem.model)
        if not self._weights:
            raise ValueError(
                "The model has no convolution or linear weight that requires a gradient; nothing can be pruned."
            )
        self._steps = steps
        self._frozen = False
        ones = {name: torch.ones_like(p, dtype=torch.bool) for name, p in self._weights.items()}
        self.masks = Masks(self._weights, ones)

    def bind(self, optimizer: Optimizer) -> None:
        """Enforces the masks around every step."""
        if self.density < 1.0:
            self.masks.bind(optimizer)

    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """Prunes every few steps until the target is reached."""
        last = max(1, round(self.ramp[1] * self._steps))
        if self.density == 1.0 or self._frozen or (step % self.every and step < last):
            return
        self._prune(cubic_density(step / self._steps, self.density, *self.ramp), optimizer)
        self._frozen = step >= last

    def finish(self) -> None:
        """Leaves plain weights, at the density asked even if training was shorter than the ramp."""
        if self.density < 1.0 and not self._frozen:
            self._prune(self.density, None)
        self.masks.unbind()

    def state_dict(self) -> dict[str, Any]:
        """The masks, and whether they are final."""
        return {"masks": self.masks.masks, "frozen": self._frozen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the masks."""
        self.masks.replace_(state["masks"], None)
        self._frozen = state["frozen"]

    def _prune(self, density: float, optimizer: Optimizer | None) -> None:
        total = sum(p.numel() for p in self._weights.values())
        keep = max(1, round(density * total))
        chosen = top_masks([p.abs() for p in self._weights.values()], keep)
        self.masks.replace_(dict(zip(self._weights, chosen, strict=True)), optimizer)
