"""Lottery tickets (Frankle and Carbin 2019, arXiv 1803.03635; rewinding: Frankle et al. 2020, arXiv 1912.05671)."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.optim import Optimizer

from secateur.problem import Problem
from secateur.pruning import InRounds, check_share
from secateur.shrinking import unwrapped
from secateur.storage import network_state, put_back, writable


class LotteryTicket(InRounds):
    """Trains, prunes the smallest weights, puts the survivors back to where they began, and trains again.

    Training costs ``rounds`` times the steps, less those that ``rewind`` saves: a round that goes back to a step goes on from
    there, its schedule too, as in the published code. Two rounds are the one-shot ticket that AdapMTL compares with; with
    more, a round leaves the same share of the weights each time. Parameters that are not pruned go back to the same step. BatchNorm's
    running statistics always go back to those before training, whatever ``rewind`` is: those of a later step are of the
    dense network, and the pruned one measures its own.

    Args:
        density: Kept fraction of the prunable weights in the last round, in (0, 1]; 1 is dense training, in one round.
        rounds: Trainings, at least 2.
        rewind: Share of the first round's steps whose weights are gone back to; 0 is the initialisation.
        pattern: What shape survives: ``"unstructured"``, N:M such as ``"2:4"``, or a block such as ``"1x4"``.
        at_least: Weights that every layer keeps.

    Raises:
        ValueError: If a setting is out of range, or the density out of reach under them (in ``start``).
    """

    def __init__(
        self,
        density: float = 0.1,
        rounds: int = 2,
        *,
        rewind: float = 0.0,
        pattern: str = "unstructured",
        at_least: int = 1,
    ) -> None:
        super().__init__(density, rounds, pattern, at_least)
        self.rewind = check_share("rewind", rewind)

    def start(self, problem: Problem, steps: int) -> None:
        """Remembers the initial weights."""
        super().start(problem, steps)
        self._round = 0
        self._origin = network_state(problem.model)

    def resumes_at(self, steps: int) -> int:
        """The step whose weights are gone back to; at least one is left to train."""
        return min(round(self.rewind * steps), steps - 1) if self.rounds > 1 else 0

    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """Remembers the weights to go back to."""
        if self._round == 0 and self.density < 1.0 and step == self.resumes_at(self.steps):
            before = {name: self._origin[name] for name in self._statistics() if name in self._origin}
            self._origin = {**network_state(self.problem.model), **before}

    @torch.no_grad()
    def after_round(self, number: int) -> None:
        """Prunes and goes back; not after the last round."""
        self._round = number + 1
        if self._round >= self.rounds:
            return
        masks = self._pruned(self._round)
        put_back(self.problem.model, self._origin)
        self.masks.replace_(masks, None)

    def state_dict(self) -> dict[str, Any]:
        """The masks, the round and the weights to go back to."""
        return {**super().state_dict(), "round": self._round, "origin": writable(self._origin)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes them up."""
        super().load_state_dict(state)
        self._round, self._origin = state["round"], dict(state["origin"])

    def _statistics(self) -> list[str]:
        """Names of the running statistics of normalisations."""
        found = [(n, m) for n, m in self.problem.model.named_modules() if isinstance(m, _NormBase)]
        return [
            unwrapped(f"{name}.{own}" if name else own)
            for name, module in found
            for own, _ in module.named_buffers(recurse=False)
        ]
