"""Reweighted ℓ1, then hard pruning (Candès et al. 2008; in Min-max sparse multi-task, Guo et al., ISCAS 2024 and 2025)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from secateur.problem import Problem, components
from secateur.pruning import AtOnce, Distribution, Pattern, Scores, check_ramp, magnitudes, select, wide

_RENEWED = (0.3, 0.6)  # shares of the ramp at which references are renewed: epochs 60 and 120 of 200


class ReweightedL1(AtOnce):
    """Trains densely, then under a penalty that spares large weights, prunes the smallest at once, and trains the rest on.

    Between the two ends of ``ramp`` ρ·Σ |w| / (|w°| + ε) is added to the loss, with references w° the weights as they were at
    its start and again after 30 and 60 % of it, as published: what is small is pushed the harder, what is large hardly. At the
    end the largest weights stay, under a mask. The defaults are the three trainings of the paper, of equal length, in one.

    Args:
        density: Kept fraction of the prunable weights, in (0, 1]; 1 is dense training.
        strength: ρ (published: 1e-7).
        ramp: Shares of the steps between which the penalty acts; ``(0, 0.5)`` begins with a network that is trained.
        eps: ε, in units of the weights (published: 1e-6; its code has 1/|w° + ε|, which grows without bound near −ε).
        distribution: How much where: ``"global"``, ``"uniform"`` per layer as published, ``"erk"`` or ``"component"``.
        pattern: What shape survives: ``"unstructured"``, N:M such as ``"2:4"``, or a block such as ``"1x4"``.
        at_least: Weights that every layer keeps, so that none dies.

    Raises:
        ValueError: If a setting is out of range, or the density out of reach under them (in ``start``).
    """

    def __init__(
        self,
        density: float = 0.1,
        strength: float = 1e-7,
        ramp: tuple[float, float] = (1 / 3, 2 / 3),
        *,
        eps: float = 1e-6,
        distribution: Distribution = "global",
        pattern: str = "unstructured",
        at_least: int = 1,
    ) -> None:
        check_ramp(ramp)
        if ramp[1] == 1.0:
            raise ValueError(
                f"ramp is {tuple(ramp)}; let it end before 1, so that steps are left to train what stays."
            )
        if not strength >= 0 or not eps > 0:
            raise ValueError(
                f"strength is {strength} and eps {eps}; give a strength of 0 or more and an eps above 0."
            )
        super().__init__(density, ramp[1])
        self.strength, self.ramp, self.eps = strength, ramp, eps
        self.distribution: Distribution = distribution
        self.pattern = Pattern.parse(pattern)
        self.at_least = at_least

    def start(self, problem: Problem, steps: int) -> None:
        """Looks at the weights, if the penalty is to act from the first step on."""
        self._components = components(problem)  # now: a layer may be frozen on the way
        super().start(problem, steps)
        begin, end = self.at_step(self.ramp[0]), self.at_step(self.ramp[1])
        self._due = {begin + round(share * (end - begin)) for share in (0.0, *_RENEWED)} - {end}
        self._done = end == 0
        self._references: dict[str, Tensor] = {}  # w°; empty while there is no penalty
        if 0 in self._due and self.density < 1.0 and not self._done:
            self._renew()

    def penalty(self) -> Tensor | float:
        """ρ·Σ |w| / (|w°| + ε); zero before it acts, and none once the weights are pruned."""
        if self.density == 1.0 or self._done:
            return 0.0
        if not self._references:
            return torch.zeros((), device=next(iter(self.weights.values())).device)
        terms = [_relative(self.weights[n], before, self.eps) for n, before in self._references.items()]
        return self.strength * torch.stack(terms).sum()

    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """Renews the references or prunes, when the time has come."""
        if self.density < 1.0 and not self._done and step in self._due:
            self._renew()
        super().after_step(step, optimizer)
        if step >= self.at_step(self.at):
            self._done, self._references = True, {}

    def finish(self) -> None:
        """Leaves plain weights, at the density asked even if training ended before the penalty did."""
        if self.density < 1.0 and not self._done:
            self.masks.replace_(self._chosen(), None)
            self._done, self._references = True, {}
        super().finish()

    def state_dict(self) -> dict[str, Any]:
        """The masks, the references, and whether the weights are pruned."""
        return {**super().state_dict(), "references": self._references or None, "done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes them up."""
        super().load_state_dict(state)
        self._done = state["done"]
        found: dict[str, Tensor] = state["references"] or {}
        self._references = {n: before.to(self.weights[n].device) for n, before in found.items()}

    def _renew(self) -> None:
        self._references = {n: w.detach().clone() for n, w in self.weights.items()}

    def _scores(self) -> Scores:
        return magnitudes(self.weights, self.masks.masks)

    def _select(self, found: Scores) -> Scores:
        return select(
            found,
            self.density,
            distribution=self.distribution,
            components=self._components,
            pattern=self.pattern,
            at_least=self.at_least,
        )


def _relative(weight: Tensor, before: Tensor, eps: float) -> Tensor:
    """Σ |w| / (|w°| + ε), a scalar in at least single precision."""
    dtype = wide(weight)
    return (weight.abs().to(dtype) / (before.abs().to(dtype) + eps)).sum()
