"""What every method that works with masks has in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from secateur.problem import Problem, is_number, prunable
from secateur.pruning.masks import Masks, say_idle, shortfall
from secateur.pruning.pattern import Pattern, say_turned
from secateur.pruning.schedules import check_density, check_rounds, geometric_density
from secateur.pruning.scores import Scores, magnitude
from secateur.pruning.selection import select
from secateur.pruning.sparsifier import Sparsifier
from secateur.pruning.ties import check_ties


class Masked(Sparsifier):
    """Begins with everything kept and holds whatever masks a subclass sets; alone it prunes nothing.

    After ``start`` a subclass finds here ``problem``, ``steps``, ``weights`` (name to prunable parameter) and ``masks``, and sets
    new ones by ``self.masks.replace_(masks, optimizer)``.

    Args:
        density: Kept fraction of the prunable weights in the end, in (0, 1]; 1 is dense training.
    """

    def __init__(self, density: float) -> None:
        self.density = check_density(density)

    def start(self, problem: Problem, steps: int) -> None:
        """Finds what can be pruned."""
        self.problem, self.steps = problem, steps
        self.weights = prunable(problem.model)
        if not self.weights:
            raise ValueError(
                "The model has no convolution or linear weight that requires a gradient; nothing can be pruned."
            )
        ones = {name: torch.ones_like(p, dtype=torch.bool) for name, p in self.weights.items()}
        self.masks = Masks(self.weights, ones)
        say_turned(type(self).__name__, problem.model, self.weights, self._pattern)

    def bind(self, optimizer: Optimizer) -> None:
        """Enforces the masks around every step."""
        if self.density < 1.0:
            self.masks.bind(optimizer, looked_at=self._looks_at_gradients)

    def enforce(self) -> None:
        """Zeroes again what is pruned."""
        if self.density < 1.0:
            self.masks.zero_weights_()

    def finish(self) -> None:
        """Leaves plain weights; says where those that are kept are zero all the same."""
        self.undo()
        say_idle(type(self).__name__, self.masks, self.weights, self.density, self._pattern.unit)

    def undo(self) -> None:
        """Stops enforcing the masks."""
        if hasattr(self, "masks"):
            self.masks.unbind()

    def missed(self) -> str:
        """Whether the density is there, and every pruned weight zero."""
        return shortfall(self.masks, self.weights, self.density, self._pattern.unit)

    @property
    def _looks_at_gradients(self) -> bool:
        """Whether the gradients of pruned weights decide anything."""
        return False

    @property
    def _pattern(self) -> Pattern:
        pattern = getattr(self, "pattern", None)
        return pattern if isinstance(pattern, Pattern) else Pattern()

    def state_dict(self) -> dict[str, Any]:
        """The masks."""
        return {"masks": self.masks.masks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the masks."""
        self.masks.replace_(state["masks"], None)

    def _say_ties(self, chosen: Scores) -> None:
        """Says what equal magnitudes of those still there left to chance."""
        old = self.masks.masks
        found = {n: size for n, size in magnitudes(self.weights, old).items() if old[n].any()}
        check_ties(type(self).__name__, found, chosen, self.problem.owners)

    def at_step(self, share: float) -> int:
        """The step, counted from 1, at which ``share`` of the steps is done; 0 is before the first."""
        return round(share * self.steps)


class AtOnce(Masked):
    """Prunes once, at a share of the steps; a subclass says by what scores, and which of them stay.

    Args:
        density: Kept fraction of the prunable weights, in (0, 1]; 1 is dense training.
        at: Share of the steps at which it happens; 0 is before training.
    """

    def __init__(self, density: float, at: float) -> None:
        super().__init__(density)
        self.at = check_share("at", at)

    def start(self, problem: Problem, steps: int) -> None:
        """Prunes, if it is to happen before training."""
        super().start(problem, steps)
        if self.density < 1.0:
            self._select(magnitude(self.weights))  # raises now what could not be reached later
            if self.at_step(self.at) == 0:
                self.masks.replace_(self._chosen(), None)

    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """Prunes, when its time has come."""
        if self.density < 1.0 and step == self.at_step(self.at):
            self.masks.replace_(self._chosen(), optimizer)

    def finish(self) -> None:
        """Leaves plain weights, at the density asked even if training ended before its time came."""
        if self.density < 1.0 and all(bool(mask.all()) for mask in self.masks.masks.values()):
            self.masks.replace_(self._chosen(), None)
        super().finish()

    def _chosen(self) -> Scores:
        found = self._scores()
        masks = self._select(found)
        check_ties(type(self).__name__, found, masks, self.problem.owners)
        return masks

    @abstractmethod
    def _scores(self) -> Scores:
        """The higher the more a weight is worth."""

    @abstractmethod
    def _select(self, found: Scores) -> Scores:
        """True where a weight stays."""


class InRounds(Masked):
    """Prunes the smallest weights between trainings; a subclass says what happens to the rest.

    Every round leaves the same share of the weights. Where N:M cannot be as dense as that yet, the round leaves N/M.

    Args:
        density: Kept fraction of the prunable weights in the last round, in (0, 1]; 1 is dense training, in one round.
        rounds: Trainings, at least 2.
        pattern: What shape survives.
        at_least: Weights that every layer keeps.
    """

    def __init__(self, density: float, rounds: int, pattern: str, at_least: int) -> None:
        super().__init__(density)
        self.rounds = 1 if density == 1.0 else check_rounds(rounds)
        self.pattern = Pattern.parse(pattern)
        self.at_least = at_least

    def start(self, problem: Problem, steps: int) -> None:
        """Begins with everything kept; raises now if the density is out of reach later."""
        super().start(problem, steps)
        if self.density < 1.0:
            self._select(self.rounds - 1)

    def finish(self) -> None:
        """Leaves plain weights, at the density asked even if training ended before its last round."""
        kept = sum(int(mask.sum()) for mask in self.masks.masks.values())
        asked = self.density * sum(p.numel() for p in self.weights.values())
        if kept - asked > self.pattern.unit / 2:
            self.masks.replace_(self._pruned(self.rounds - 1), None)
        super().finish()

    def _pruned(self, done: int) -> Scores:
        """The masks after ``done`` rounds, of trained weights; what equal magnitudes leave to chance is said."""
        masks = self._select(done)
        self._say_ties(masks)
        return masks

    def _select(self, done: int) -> Scores:
        """The masks after ``done`` rounds."""
        density = geometric_density(self.density, done, self.rounds - 1)
        if done < self.rounds - 1:
            density = min(density, self.pattern.densest)
        found = magnitudes(self.weights, self.masks.masks)
        return select(found, density, pattern=self.pattern, at_least=self.at_least)


def check_share(name: str, value: float) -> float:
    """Returns ``value`` if it is a share of the steps below 1.

    Raises:
        ValueError: If it is not.
    """
    if not is_number(value) or not 0.0 <= value < 1.0:
        raise ValueError(f"{name} is {value!r}; it is a share of the steps and lies in [0, 1).")
    return value


def magnitudes(weights: dict[str, Any], masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """|w| of the survivors, -1 of what is pruned, so that it stays behind a survivor that is zero."""
    return {n: torch.where(masks[n], p.detach().abs(), -1.0) for n, p in weights.items()}
