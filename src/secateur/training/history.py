"""What ``fit`` returns: what happened."""

from __future__ import annotations

from dataclasses import dataclass, field

from secateur.training.floors import Attempt
from secateur.training.ledger import Row
from secateur.training.pruning import Pruning


@dataclass
class History:
    """What happened.

    Args:
        rows: ``{"step", "loss", "weight", "density", "threshold", "lr"}`` per log interval, ``{"step", "val"}`` per
            validation.
        seconds: Training time, over all sittings.
        attempts: Trainings under floors, in order; empty without floors.
        skipped: Batches that were no step, since they had no valid label of any task.
        ignored: Task to the batches in which all of its labels were ignored, where there are such.
    """

    rows: list[Row] = field(default_factory=list[Row])
    seconds: float = 0.0
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    skipped: int = 0
    ignored: dict[str, int] = field(default_factory=dict[str, int])

    def log(self, row: Row, pruning: Pruning, rate: float) -> None:
        """Adds a row of the ledger, with density, thresholds and learning rate as they are now."""
        found = {"density": pruning.density().to_dict(), "lr": rate}
        thresholds = {c: float(a) for c, a in pruning.method.thresholds().items()}
        self.rows.append({"step": pruning.done, **row, **found, "threshold": thresholds})
