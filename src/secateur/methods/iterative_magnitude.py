"""Iterative magnitude pruning without rewinding (Han et al. 2015, arXiv 1506.02626)."""

from __future__ import annotations

from secateur.masked import Masked, magnitudes
from secateur.schedules import check_rounds, geometric_density
from secateur.selection import select


class IterativeMagnitude(Masked):
    """Trains, prunes the smallest weights, and trains on from there, round after round.

    Training costs ``rounds`` times the steps; every round leaves the same share of the weights.

    Args:
        density: Kept fraction of the prunable weights in the last round, in (0, 1]; 1 is dense training, in one round.
        rounds: Trainings, at least 2.
        at_least: Weights that every layer keeps.
    """

    def __init__(self, density: float = 0.1, rounds: int = 4, *, at_least: int = 1) -> None:
        super().__init__(density)
        self.rounds = 1 if density == 1.0 else check_rounds(rounds)
        self.at_least = at_least

    def after_round(self, number: int) -> None:
        """Prunes; not after the last round."""
        if number + 1 < self.rounds:
            density = geometric_density(self.density, number + 1, self.rounds - 1)
            masks = select(magnitudes(self.weights, self.masks.masks), density, at_least=self.at_least)
            self.masks.replace_(masks, None)
