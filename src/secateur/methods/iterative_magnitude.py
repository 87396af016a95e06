"""Iterative magnitude pruning without rewinding (Han et al. 2015, arXiv 1506.02626)."""

from __future__ import annotations

from secateur.pruning import InRounds


class IterativeMagnitude(InRounds):
    """Trains, prunes the smallest weights, and trains on from there, round after round.

    Training costs ``rounds`` times the steps; every round leaves the same share of the weights.

    Args:
        density: Kept fraction of the prunable weights in the last round, in (0, 1]; 1 is dense training, in one round.
        rounds: Trainings, at least 2.
        pattern: What shape survives: ``"unstructured"``, N:M such as ``"2:4"``, or a block such as ``"1x4"``.
        at_least: Weights that every layer keeps.

    Raises:
        ValueError: If a setting is out of range, or the density out of reach under them (in ``start``).
    """

    def __init__(
        self,
        density: float = 0.1,
        rounds: int = 4,
        *,
        pattern: str = "unstructured",
        at_least: int = 1,
    ) -> None:
        super().__init__(density, rounds, pattern, at_least)

    def after_round(self, number: int) -> None:
        """Prunes; not after the last round."""
        if number + 1 < self.rounds:
            self.masks.replace_(self._pruned(number + 1), None)
