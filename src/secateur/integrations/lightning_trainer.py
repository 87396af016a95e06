"""What is read off Lightning's Trainer, and what it must not be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from secateur.problem import Batch

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

FORM = "The LightningModule's forward(x) returns {task: prediction}, and the train loader gives (x, {task: target})."


def steps_of(trainer: Trainer) -> int:
    """The optimizer steps of the whole training.

    Raises:
        ValueError: If there is no end, several optimizers, or weights that are split over processes.
    """
    if len(trainer.optimizers) != 1:
        raise ValueError(
            f"Prune: the module has {len(trainer.optimizers)} optimizers; give one of them the parameters of all."
        )
    if trainer.strategy.restore_checkpoint_after_setup:
        raise ValueError(
            f"Prune: {type(trainer.strategy).__name__} splits the weights over processes; choose 'ddp' or one device."
        )
    steps = trainer.estimated_stepping_batches
    if steps < 1 or math.isinf(steps):
        raise ValueError(
            "Prune: the number of steps is unlimited; give the Trainer max_steps, or max_epochs and a loader with a length."
        )
    return int(steps)


def batch_of(trainer: Trainer, found: Any) -> Batch:
    """A batch of the trainer's loader as its steps get it.

    Raises:
        ValueError: If it is not of the form that a Problem wants.
    """
    pair = isinstance(found, Sequence) and len(found) == 2
    if not pair or not isinstance(found[1], Mapping):
        kinds = ", ".join(type(part).__name__ for part in found) if isinstance(found, Sequence) else ""
        raise ValueError(f"Prune: the train loader gave {type(found).__name__}({kinds}). {FORM}")
    return trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(found))


def draw_again(trainer: Trainer) -> None:
    """Begins the epoch's batches anew, from the random state that was restored; Lightning had begun them before."""
    loop: Any = trainer.fit_loop
    if not any(hasattr(loader, "load_state_dict") for loader in loop._combined_loader.flattened):
        iter(loop._data_fetcher)
