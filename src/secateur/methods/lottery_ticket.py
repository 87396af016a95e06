"""Lottery tickets (Frankle and Carbin 2019, arXiv 1803.03635; rewinding: Frankle et al. 2020, arXiv 1912.05671)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from secateur.masked import Masked, check_share, magnitudes
from secateur.problem import Problem
from secateur.schedules import check_rounds, geometric_density
from secateur.selection import select


class LotteryTicket(Masked):
    """Trains, prunes the smallest weights, puts the survivors back to where they began, and trains again.

    Training costs ``rounds`` times the steps. Two rounds are the one-shot ticket that AdapMTL compares with; with more, a
    round leaves the same share of the weights each time. Parameters that are not pruned and BatchNorm's statistics
    go back too.

    Args:
        density: Kept fraction of the prunable weights in the last round, in (0, 1]; 1 is dense training, in one round.
        rounds: Trainings, at least 2.
        rewind: Share of the first round's steps whose weights are gone back to; 0 is the initialisation.
        at_least: Weights that every layer keeps.
    """

    def __init__(
        self, density: float = 0.1, rounds: int = 2, *, rewind: float = 0.0, at_least: int = 1
    ) -> None:
        super().__init__(density)
        self.rounds = 1 if density == 1.0 else check_rounds(rounds)
        self.rewind = check_share("rewind", rewind)
        self.at_least = at_least

    def start(self, problem: Problem, steps: int) -> None:
        """Remembers the initial weights."""
        super().start(problem, steps)
        self._round = 0
        self._origin = self._copied()

    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """Remembers the weights to go back to."""
        if self._round == 0 and self.density < 1.0 and step == self.at_step(self.rewind):
            self._origin = self._copied()

    @torch.no_grad()
    def after_round(self, number: int) -> None:
        """Prunes and goes back; not after the last round."""
        self._round = number + 1
        if self._round >= self.rounds:
            return
        density = geometric_density(self.density, self._round, self.rounds - 1)
        masks = select(magnitudes(self.weights, self.masks.masks), density, at_least=self.at_least)
        for name, value in self._tensors().items():
            value.copy_(self._origin[name])
        self.masks.replace_(masks, None)

    def state_dict(self) -> dict[str, Any]:
        """The masks, the round and the weights to go back to."""
        return {**super().state_dict(), "round": self._round, "origin": self._origin}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes them up."""
        super().load_state_dict(state)
        self._round, self._origin = state["round"], dict(state["origin"])

    def _tensors(self) -> dict[str, Tensor]:
        return {**dict(self.problem.model.named_parameters()), **dict(self.problem.model.named_buffers())}

    def _copied(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self._tensors().items()}
