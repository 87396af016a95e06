"""How ``fit`` trains, whatever it trains: what was asked, and what stands where nothing was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex

import torch

from secateur.problem import Problem, RemediedError, length
from secateur.pruning import Schedule
from secateur.training.distillation import Distillation
from secateur.training.ledger import Row
from secateur.training.optimizer import MakeOptimizer

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The arguments of ``fit`` that every attempt under floors has in common; they are described there."""

    epochs: int | None
    steps: int | None
    optimizer: MakeOptimizer
    schedule: Schedule
    seed: int
    fabric: Fabric | None
    checkpoint_every: int | None
    log_every: int | None
    validate_every: int
    accumulate: int
    distillation: Distillation | None
    recalibrate: int | None
    on_log: Callable[[list[Row]], object] | None
    progress: bool

    def steps_of(self, problem: Problem) -> int:
        """Optimizer steps of a round.

        Raises:
            ValueError: If they cannot be counted, or there are none.
        """
        epochs, steps = self.epochs, self.steps
        if (epochs is None) == (steps is None):
            raise ValueError(f"fit: epochs is {epochs} and steps is {steps}; give exactly one of them.")
        for name in ("log_every", "checkpoint_every"):
            every: Any = getattr(self, name)
            if every is not None and (not isinstance(every, SupportsIndex) or index(every) < 1):
                raise ValueError(f"fit: {name} is {every!r}; give a whole number of steps, or None.")
        if self.accumulate < 1:
            raise ValueError(f"fit: accumulate is {self.accumulate}; give at least 1 batch to a step.")
        if steps is None:
            if (batches := length(problem.loader())) is None:
                raise ValueError("fit: epochs needs a loader with a length; give steps instead.")
            steps = -(
                (epochs or 0) * batches // -self.accumulate
            )  # the last may have batches of the next epoch
        if steps < 1:
            raise ValueError(
                f"fit: that makes {steps} steps; at least 1 is needed (epochs {epochs}, batches an epoch as the loader says)."
            )
        return steps

    def validations(self, problem: Problem, total: int, askers: Sequence[str]) -> int:
        """Steps between validations, 0 for none: a twentieth of all where callbacks look at them and nothing was said.

        Raises:
            ValueError: If the number is negative, or validations are asked for, by it or by ``askers``, callbacks, and there are no
                validation data.
        """
        every: Any = self.validate_every
        if not isinstance(every, SupportsIndex) or index(every) < 0:
            raise ValueError(
                f"fit: validate_every is {self.validate_every}; give steps between validations, or 0 for none."
            )
        if askers and problem.val is None:
            raise RemediedError(
                f"fit: callback {' and '.join(askers)} looks at validations, and the problem has no validation data;",
                "give Problem(..., val=...).",
                "give data that have val, or leave that callback out.",
            )
        if self.validate_every and problem.val is None:
            raise ValueError(
                f"fit: validate_every is {self.validate_every}, and the problem has no validation data; give Problem(..., val=...), or "
                "leave it out."
            )
        return self.validate_every or (max(1, total // 20) if askers else 0)

    def fabric_of(self, problem: Problem) -> Fabric:
        """The Fabric that was given, or one for the device that the model is on."""
        from lightning_fabric import Fabric

        device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
        on = [device.index or 0] if device.type == "cuda" else 1
        return self.fabric or Fabric(accelerator=device.type, devices=on)
