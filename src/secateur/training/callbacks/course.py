"""A training under way, as its callbacks see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from secateur.problem import Problem, any_process
from secateur.training.history import History
from secateur.training.pruning import Pruning

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer  # pyright: ignore[reportPrivateUsage]

Results = Mapping[str, Mapping[str, float]]
"""Task to metric to value."""


@dataclass
class Course:
    """What a callback may look at, and :meth:`stop`.

    Args:
        problem: Model, tasks and data.
        pruning: The method at work: steps that are done, the density.
        history: Its rows so far.
        fabric: Devices, precision, processes.
        model: The model as Fabric wraps it.
        optimizer: The optimizer as Fabric wraps it; another one in each round.
        validate_every: Steps between validations, 0 where there is none.
        reference: Metrics of a dense network on the validation split, where they are known.
        settings: What the training was asked for, as plain values.
    """

    problem: Problem
    pruning: Pruning
    history: History
    fabric: Fabric
    model: _FabricModule
    optimizer: _FabricOptimizer
    validate_every: int = 0
    reference: Results | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def step(self) -> int:
        """Steps that are done, over all rounds."""
        return self.pruning.done

    @property
    def total(self) -> int:
        """Steps over all rounds."""
        return self.pruning.total

    @property
    def settled(self) -> bool:
        """Whether the method has come to what it was asked for: its last round, and its density there for good."""
        turns = self.pruning.turns
        return turns.round == turns.rounds - 1 and self.pruning.method.settled()

    @property
    def writes(self) -> bool:
        """Whether this process, of several, is the one that writes files."""
        return self.fabric.is_global_zero

    @property
    def stopped(self) -> str:
        """Why training stops before its last step; empty where it does not."""
        return self.history.stopped

    def stop(self, why: str) -> None:
        """Training ends with this step, whatever other callbacks think; of several processes one is enough.

        Raises:
            ValueError: If the density asked is not there yet.
        """
        if not self.settled:
            asked = getattr(self.pruning.method, "density", None)
            raise ValueError(
                f"stop: at step {self.step} of {self.total} {type(self.pruning.method).__name__} has not come to what it was asked for"
                f"{f', density {asked}' if asked else ''}; ask `course.settled` first."
            )
        self.history.stopped = self.history.stopped or why

    def stopping(self) -> bool:
        """Whether any process stops; every process must ask."""
        if any_process(bool(self.history.stopped), self.fabric.device):
            self.history.stopped = self.history.stopped or "another process stopped"
        return bool(self.history.stopped)
