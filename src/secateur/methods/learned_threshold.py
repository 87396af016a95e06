"""AdapMTL as published: one trained threshold per component, α_c = σ(θ_c) (ACM MM 2024, Eq. 4, 5 and 8)."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.problem import By
from secateur.pruning import Effect, Pattern, Thresholded, cubic_density, groups_of, soft_threshold
from secateur.pruning import density as density_of

Pressure = Literal["none", "coupled_l2", "decoupled_decay", "controller", "l1_density"]


class LearnedThreshold(Thresholded):
    """Trains the thresholds by gradient, under a pressure of choice, until the density asked is reached.

    The task gradient alone does not raise the thresholds to a useful density, nor does it know a target; so a pressure
    is added, and the mask is frozen at exactly the density asked as soon as that is crossed. If it has not been by
    ``deadline``, the mask is cut to it, with a warning: what one common factor of all thresholds would take goes. The others
    are shrunk by the thresholds as they were trained to be, not by that factor.

    Args:
        density: Kept fraction of the prunable weights, in (0, 1]; 1 is dense training.
        components: Partition of the weights that share a threshold.
        initial: θ at the start (published: -20).
        pressure: ``"none"``: the paper's equations alone. ``"coupled_l2"``: the optimizer's weight decay acts on θ too,
            as in the published code; give the optimizer a ``weight_decay``, without which a warning says that there is no pressure. ``"decoupled_decay"``: θ ← θ − lr·ψ·θ.
            ``"controller"``: θ follows a cubic schedule of the density, held back where the task loss resists.
            ``"l1_density"``: a differentiable count of the survivors is added to the loss.
        strength: ψ of the decay, the gain of the controller, or the factor of the penalty.
        ramp: For the controller: shares of the steps between which the density falls.
        deadline: Share of the steps at which the target is enforced.
        at_least: Weights that every layer keeps when the mask is frozen, so that none is dead for good; 0 is as published.
        pattern: What shape survives: ``"unstructured"``, or a block such as ``"4x1"``, four output channels by one input channel,
            which a threshold shrinks as a whole by the root mean square of its weights (Yuan and Lin 2006).

    Raises:
        ValueError: If a setting is out of range, or the density out of reach under them (in ``start``).
    """

    def __init__(
        self,
        density: float = 0.1,
        components: By = "owner",
        initial: float = -20.0,
        pressure: Pressure = "none",
        strength: float = 1.0,
        ramp: tuple[float, float] = (0.1, 0.6),
        deadline: float = 0.8,
        at_least: int = 1,
        *,
        pattern: str = "unstructured",
    ) -> None:
        super().__init__(density, components, ramp, at_least, pattern)
        if not 0 < deadline <= 1:
            raise ValueError(f"deadline is {deadline}; it is a share of the steps in (0, 1].")
        if strength < 0:
            raise ValueError(f"strength is {strength}; give 0 or more.")
        self.initial, self.pressure = initial, pressure
        self.strength, self.deadline = strength, deadline

    def bind(self, optimizer: Optimizer) -> None:
        """Enforces the mask as soon as it is frozen; says where ``coupled_l2`` has no weight decay to press with."""
        super().bind(optimizer)
        coupled = self.density < 1.0 and self.pressure == "coupled_l2"
        held = groups_of(optimizer, self._theta) if coupled else {}
        if coupled and not all(group.get("weight_decay", 0.0) for group in held.values()):
            warnings.warn(
                "LearnedThreshold: the thresholds have no pressure: that of 'coupled_l2' is the optimizer's weight_decay, which is 0 for "
                "them. Give the optimizer one, such as adam(weight_decay=1e-4), or choose another pressure.",
                stacklevel=4,
            )

    def param_groups(self) -> list[dict[str, Any]]:
        """θ, decayed with the weights only under ``coupled_l2`` and trained by the optimizer except by the controller."""
        if self.density == 1.0:
            return []
        group: dict[str, Any] = {"params": list(self._theta.values())}
        if self.pressure != "coupled_l2":
            group["weight_decay"] = 0.0
        if self.pressure == "controller":
            group["lr"] = 0.0
        return [group]

    def penalty(self) -> Tensor | float:
        """The expected density under ``l1_density``: ρ·Σ_c N_c/N·mean_i σ((|w_i| − α_c)/τ), τ a tenth of rms(w).

        In blocks |w_i| is the root mean square of the block of w_i.
        """
        if self.pressure != "l1_density" or self.density == 1.0 or self.masks is not None:
            return 0.0
        total = sum(p.numel() for p in self.weights.values())
        terms: list[Tensor] = []
        for component, names in self.partition.items():
            alpha = self._theta[component].sigmoid()
            for name in names:
                weight = self.weights[name]
                tau = 0.1 * weight.detach().square().mean().sqrt().clamp(min=1e-8)
                gates = ((self.pattern.magnitude(weight) - alpha) / tau).sigmoid()
                terms.append(self.pattern.spread(gates, weight.shape).sum())
        return self.strength * torch.stack(terms).sum() / total

    def thresholds(self) -> dict[str, Tensor]:
        """Component to α_c."""
        return (
            {} if self.density == 1.0 else {c: theta.detach().sigmoid() for c, theta in self._theta.items()}
        )

    def _begin(self, like: nn.Parameter) -> None:
        """α_c = σ(θ_c) on every prunable weight."""
        initial = torch.tensor(float(self.initial), device=like.device)
        self._theta = {c: nn.Parameter(initial.clone()) for c in self.partition}
        self._resistance = torch.zeros((), device=like.device)  # EMA of the squared gradient, over components

    def _effects(self) -> dict[str, Effect]:
        return {n: _Shrunk(self._theta[c], self.pattern) for c, own in self.partition.items() for n in own}

    def _memory(self) -> dict[str, Tensor | dict[str, Tensor]]:
        return {"theta": {c: t.detach() for c, t in self._theta.items()}, "resistance": self._resistance}

    def _move(self, step: int, optimizer: Optimizer) -> bool:
        """Applies the pressure; the mask is frozen when the target is crossed, or at the deadline."""
        if self.pressure == "decoupled_decay":
            for component, group in groups_of(optimizer, self._theta).items():
                self._theta[component].mul_(1.0 - group["lr"] * self.strength)
        elif self.pressure == "controller":
            self._control(step)
        late = step >= max(1, round(self.deadline * self.steps))
        if late or step % 10 == 0 or self.pressure == "controller":
            reached = self._density()
            if late and reached > self.density:
                warnings.warn(
                    f"LearnedThreshold: the thresholds reached density {reached:.3f} by step {step}, not {self.density}; they are "
                    "raised by one common factor that says which weights go; what stays is not shrunk by it. Raise the pressure or the "
                    "initial θ to reach it in training.",
                    stacklevel=3,
                )
            return late or reached <= self.density
        return False

    def _control(self, step: int) -> None:
        """θ_c ← θ_c + η·(ρ·clip(s* − s, ±1) − κ·ĝ_c) with s* the schedule, s the sparsity, ĝ_c the scaled gradient.

        Gradients that are not finite, such as those of a step that a gradient scaler skips, say nothing: ĝ_c is 0 there.
        """
        aim = cubic_density(step / self.steps, self.density, *self.ramp)
        if aim == 1.0:
            return  # no demand yet: the resistance alone would drive θ down
        # ∂L/∂θ < 0 wants a larger threshold; it is scaled by its rms over components and time
        slopes = torch.stack(
            [t.grad if t.grad is not None else torch.zeros_like(t) for t in self._theta.values()]
        )
        resistance = (self._resistance * 0.99).add_(0.01 * slopes.square().mean())
        known = resistance.isfinite()
        self._resistance.copy_(torch.where(known, resistance, self._resistance))
        scaled = torch.where(known, slopes, 0.0) / self._resistance.sqrt().clamp(min=1e-12)
        gain = 2000.0 * self.strength / self.steps  # the climb of some 20 units of θ takes a share of the run
        push = max(-1.0, min(1.0, self._density() - aim))
        for theta, slope in zip(self._theta.values(), scaled, strict=True):
            theta.add_(gain * (push - 0.01 * abs(push) * slope))

    def _density(self) -> float:
        return density_of(self.model, self.partition).overall

    def _scales(self) -> dict[str, float]:
        """Ratios of the thresholds matter, not their size."""
        highest = max(float(t) for t in self._theta.values())
        factor = {c: math.exp(_log_sigmoid(float(t)) - _log_sigmoid(highest)) for c, t in self._theta.items()}
        return {name: max(factor[c], 1e-6) for c, names in self.partition.items() for name in names}

    def _in_force(self) -> dict[str, Tensor]:
        return {name: self._theta[c].sigmoid() for c, names in self.partition.items() for name in names}


@dataclass(frozen=True)
class _Shrunk:
    """The effect ``weight -> S(weight, σ(θ))``."""

    theta: Tensor
    pattern: Pattern

    def __call__(self, weight: Tensor) -> Tensor:
        return soft_threshold(weight, self.theta.sigmoid(), pattern=self.pattern)

    def again(self, weight: Tensor, known: Tensor) -> Tensor:
        """``known``, what a call has given, once more, in a graph of its own."""
        return soft_threshold(weight, self.theta.sigmoid(), pattern=self.pattern, known=known.detach())


def _log_sigmoid(theta: float) -> float:
    return -math.log1p(math.exp(-theta)) if theta > -30 else theta
