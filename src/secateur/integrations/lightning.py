"""Pruning as a callback of Lightning's Trainer."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch import Tensor

from secateur.integrations.hosted import Hosted, check_tasks
from secateur.integrations.looked import Looked
from secateur.problem import Batch, Problem, Task
from secateur.pruning import Sparsifier
from secateur.weighting import Weighting

if TYPE_CHECKING:
    from pytorch_lightning import Callback, LightningModule, Trainer
else:

    def _callback() -> type:
        """The base of callbacks, of each of Lightning's two packages that is in use."""
        names = ("lightning.pytorch", "pytorch_lightning")
        bases = [sys.modules[name].Callback for name in names if hasattr(sys.modules.get(name), "Callback")]
        error: ImportError | None = None
        for name in names if not bases else ():
            try:
                return import_module(name).Callback
            except ImportError as missing:
                error = missing
        if error:
            raise ImportError(
                f"secateur.integrations.lightning needs Lightning: pip install 'secateur[lightning]' ({error})."
            ) from error
        return bases[0] if len(bases) == 1 else type("Callback", tuple(bases), {})

    Callback = _callback()

_FORM = "The LightningModule's forward(x) returns {task: prediction}, and the train loader gives (x, {task: target})."


class Prune(Callback):
    """Trains a method's zeros into the module that a Trainer fits; at the end of its last step the module is plain.

        Trainer(max_epochs=30, callbacks=[Prune(SoftThreshold(density=0.1), tasks)])

    ``forward(x)`` of the module returns ``{task: prediction}`` and the train loader gives ``(x, {task: target})``. The loss of
    ``training_step`` may be its own; with a weighting, or a method that adds a penalty, return :meth:`loss`. A run that is
    resumed with ``ckpt_path`` ends, from the end of an epoch on, bit for bit like one never stopped.

    Args:
        method: Of one round.
        tasks: Name to task, as in a :class:`secateur.Problem`.
        weighting: Equal weights if None.
    """

    def __init__(
        self, method: Sparsifier, tasks: Mapping[str, Task], weighting: Weighting | None = None
    ) -> None:
        check_tasks(tasks)
        self.tasks = tasks
        self._hosted = Hosted(
            method,
            weighting,
            "return prune.loss(predictions, targets) from training_step, prune being this callback.",
        )
        self._saved: dict[str, Any] | None = None
        self._seen = 0

    def loss(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """What ``training_step`` returns: the tasks' losses weighed, and the penalties of method and weighting.

        Lightning divides it where gradients are accumulated. In validation it is the sum of the tasks' losses.
        """
        return self._hosted.loss(predictions, targets, self.tasks)

    def undo(self) -> None:
        """Leaves the module plain; Lightning's own errors and interrupts do so by themselves."""
        self._hosted.undo()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuses what cannot be, before anything is made."""
        self._saved = None
        if stage != "fit":
            return
        if sum(isinstance(callback, Prune) for callback in trainer.callbacks) > 1:  # pyright: ignore[reportAttributeAccessIssue]
            raise ValueError("Prune: the trainer has two of them; one training has one method.")
        if not pl_module.automatic_optimization:
            raise ValueError(
                "Prune needs automatic optimization; in a module that steps by itself use secateur.Pruning, as in any own loop."
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts method and weighting; the optimizer is made, and what a checkpoint has is loaded."""
        steps, saved = self._steps(trainer), self._saved
        if trainer.ckpt_path and not saved:
            raise ValueError(
                f"Prune: {trainer.ckpt_path} holds no state of Prune, so nothing can be resumed; load its weights into the module and "
                "fit without ckpt_path."
            )

        def batch(found: Any) -> Batch:
            _check(found)
            found = trainer.precision_plugin.convert_input(found)
            return trainer.strategy.batch_to_device(found)

        self._seen = trainer.global_step
        problem = Problem(pl_module, self.tasks, Looked(trainer.train_dataloader or (), batch))
        self._hosted.begin(
            problem,
            trainer.optimizers[0],
            [config.scheduler for config in trainer.lr_scheduler_configs],
            steps=steps - (0 if saved else self._seen),
            accumulate=trainer.accumulate_grad_batches,
            saved=saved,
            form=_FORM,
        )
        if saved:
            _draw_again(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """A step that was not announced must not be."""
        self._hosted.check_going_on()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ends a step where this batch was its last."""
        if trainer.global_step != self._seen:
            self._seen = trainer.global_step
            self._hosted.ended()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The end, where it comes early."""
        self._hosted.finish(early=trainer.should_stop)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leaves the module plain."""
        self._hosted.undo()

    def state_dict(self) -> dict[str, Any]:
        """Part of Lightning's checkpoints: tensors and plain values only."""
        return self._hosted.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until the optimizer is there."""
        self._saved = state_dict

    def _steps(self, trainer: Trainer) -> int:
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


def _check(batch: Any) -> None:
    """Raises ValueError if a batch is not of the form that a Problem wants."""
    pair = isinstance(batch, Sequence) and len(batch) == 2
    if not pair or not isinstance(batch[1], Mapping):
        kinds = ", ".join(type(part).__name__ for part in batch) if isinstance(batch, Sequence) else ""
        raise ValueError(f"Prune: the train loader gave {type(batch).__name__}({kinds}). {_FORM}")


def _draw_again(trainer: Trainer) -> None:
    """Begins the epoch's batches anew, from the random state that was restored; Lightning had begun them before."""
    loop: Any = trainer.fit_loop
    if not any(hasattr(loader, "load_state_dict") for loader in loop._combined_loader.flattened):
        iter(loop._data_fetcher)
