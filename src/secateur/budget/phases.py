"""What :func:`secateur.budget.prune` says it is doing, on standard error, beside the progress of its trainings."""

from __future__ import annotations

import sys

from secateur.budget.limits import Budget


class Phases:
    """Says each phase in a line.

    Args:
        budget: What is measured.
        rounds: How many there are.
        shown: False for silence.
    """

    def __init__(self, budget: Budget, rounds: int, shown: bool) -> None:
        self._rounds, self._shown = rounds, shown
        self._how = f"timing in {budget.engine}" if "ms" in budget.kinds else "measuring"
        self.number = 0
        """Of the round, from 1 on; 0 before the first."""

    def measuring(self, what: str) -> None:
        """A phase in which costs are measured."""
        self(f"{self._how}: {what}")

    def training(self, what: str, steps: int) -> None:
        """A phase in which ``what`` is trained."""
        self(f"{what} for {steps} step{'s' if steps != 1 else ''}")

    def __call__(self, phase: str) -> None:
        """Any other phase, such as ``"scoring"``."""
        if self._shown:
            at = f"round {self.number}/{self._rounds}: " if self.number else ""
            sys.stderr.write(f"prune: {at}{phase}\n")
            sys.stderr.flush()
