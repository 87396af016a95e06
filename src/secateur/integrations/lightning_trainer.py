"""What is read off Lightning's Trainer, and what it must not be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from secateur.problem import Batch, described, unpacked

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


def batch_of(trainer: Trainer, unpack: Callable[[Any], Any] | None, found: Any) -> Batch:
    """A batch of the trainer's loader as its steps get it, taken apart.

    Raises:
        ValueError: If it is not of the form that a Problem wants.
    """
    moved = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(found))
    made: Any = moved if unpack is None else unpacked(unpack, moved)
    if not (isinstance(made, Sequence) and len(made) == 2 and isinstance(made[1], Mapping)):
        who, remedy = (
            "the train loader gave",
            f"{FORM} Say how to take another apart: Prune(..., unpack=...).",
        )
        if unpack is not None:
            who, remedy = "unpack returned", "It must return (x, {task: target})."
        raise ValueError(f"Prune: {who} {described(made)}. {remedy}")
    return cast(Batch, made)


def draw_again(trainer: Trainer) -> None:
    """Begins the epoch's batches anew, from the random state that was restored; Lightning had begun them before."""
    loop: Any = trainer.fit_loop
    if not any(hasattr(loader, "load_state_dict") for loader in loop._combined_loader.flattened):
        iter(loop._data_fetcher)
