"""How ``fit`` trains, whatever it trains: what was asked, and what stands where nothing was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from secateur.problem import Problem, RemediedError, check_count, length
from secateur.pruning import Schedule
from secateur.training.distillation import Distillation
from secateur.training.ledger import Row
from secateur.training.optimizer import MakeOptimizer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_HALF = ("bf16-true", "16-true")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The arguments of ``fit`` that every attempt under floors has in common; they are described there.

    Raises:
        ValueError: If a number is out of range, not exactly one of ``epochs`` and ``steps`` is given, or the fabric makes half precision of
            the weights.
    """

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

    def __post_init__(self) -> None:
        epochs, steps = self.epochs, self.steps
        if (epochs is None) == (steps is None):
            raise ValueError(f"fit: epochs is {epochs} and steps is {steps}; give exactly one of them.")
        for name in ("epochs", "steps"):
            if (asked := getattr(self, name)) is not None:
                check_count(f"fit: {name}", asked)
        for name in ("log_every", "checkpoint_every"):
            if (every := getattr(self, name)) is not None:
                check_count(f"fit: {name}", every, remedy="give a whole number of steps, or None")
        check_count("fit: accumulate", self.accumulate, remedy="give at least 1 batch to a step")
        remedy = "give steps between validations, or 0 for none"
        check_count("fit: validate_every", self.validate_every, 0, remedy)
        check_count("fit: seed", self.seed, None)
        precision = "" if self.fabric is None else str(self.fabric.strategy.precision.precision)
        if precision in _HALF:
            raise ValueError(
                f"fit: the fabric's precision is {precision}, which makes the weights themselves half precision; use "
                f"{precision.replace('true', 'mixed')}, or pass a model and data that are in it already."
            )

    def steps_of(self, problem: Problem) -> int:
        """Optimizer steps of a round.

        Raises:
            ValueError: If they cannot be counted, or there are none.
        """
        epochs, steps = self.epochs, self.steps
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
            ValueError: If validations are asked for, by the number or by ``askers``, callbacks, and there are no validation data.
        """
        if askers and problem.val is None:
            raise RemediedError(
                f"fit: callback {' and '.join(askers)} looks at validations, and the problem has no validation data;",
                "give Problem(..., val=...).",
                "give data that have val, or leave that callback out.",
            )
        if self.validate_every and problem.val is None:
            raise RemediedError(
                f"fit: validate_every is {self.validate_every}, and the problem has no validation data;",
                "give Problem(..., val=...), or leave it out.",
                "give data that have val, or leave --validate_every out.",
            )
        return self.validate_every or (max(1, total // 20) if askers else 0)

    def fabric_of(self, problem: Problem) -> Fabric:
        """The Fabric that was given, or one for the device that the model is on."""
        from lightning_fabric import Fabric

        device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
        on = [device.index or 0] if device.type == "cuda" else 1
        return self.fabric or Fabric(accelerator=device.type, devices=on)
