"""Pruning as a callback of Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from secateur.integrations import callbacks
from secateur.integrations.hosted import Hosted, nothing_saved
from secateur.integrations.lightning_trainer import FORM, batch_of, draw_again, steps_of
from secateur.integrations.looked import Looked
from secateur.problem import Call, Task
from secateur.pruning import Sparsifier
from secateur.weighting import Weighting

if TYPE_CHECKING:
    from pytorch_lightning import Callback, LightningModule, Trainer
else:
    Callback = callbacks.lightning()


class Prune(Callback):
    """Trains a method's zeros into the module that a Trainer fits; at the end of its last step the module is plain.

        Trainer(max_epochs=30, callbacks=[Prune(SoftThreshold(density=0.1), tasks)])

    ``forward(x)`` of the module returns ``{task: prediction}`` and the train loader gives ``(x, {task: target})``, or
    ``call`` and ``unpack`` say how to read them. The loss of
    ``training_step`` may be its own; with a weighting, or a method that adds a penalty, return :meth:`loss`. A run that is
    resumed with ``ckpt_path`` ends, from the end of an epoch on, bit for bit like one never stopped.

    Args:
        method: Of one round.
        tasks: Name to task, as in a :class:`secateur.Problem`.
        weighting: Equal weights if None.
        unpack: Batch of the train loader to ``(x, {task: target})``; None where it is that. ``training_step`` takes its own apart.
        call: ``(module, x) -> {task: prediction}``, where ``module(x)`` is not.

    Raises:
        TypeError, ValueError: If one of them is something else.
    """

    def __init__(
        self,
        method: Sparsifier,
        tasks: Mapping[str, Task],
        weighting: Weighting | None = None,
        *,
        unpack: Callable[[Any], Any] | None = None,
        call: Call | None = None,
    ) -> None:
        for name, given in {"unpack": unpack, "call": call}.items():
            if given is not None and not callable(given):
                raise TypeError(f"Prune: {name} is {type(given).__name__}; give a function, as to a Problem.")
        remedy = "return prune.loss(predictions, targets) from training_step, prune being this callback."
        self.tasks, self._hosted = tasks, Hosted(method, tasks, weighting, remedy)
        self._unpack, self._call = unpack, call
        self._saved: dict[str, Any] | None = None
        self._seen = 0

    def loss(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """What ``training_step`` returns: the tasks' losses weighed, and the penalties of method and weighting.

        Lightning divides it where gradients are accumulated. In validation it is the sum of the tasks' losses, each times its ``Task.weight``.
        """
        return self._hosted.loss(predictions, targets)

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
        steps, saved, self._seen = steps_of(trainer), self._saved, trainer.global_step
        if trainer.ckpt_path and not saved:
            raise nothing_saved(trainer.ckpt_path, "into the module and fit without ckpt_path")
        self._hosted.begin(
            pl_module,
            Looked(
                () if trainer.train_dataloader is None else trainer.train_dataloader,
                partial(batch_of, trainer, self._unpack),
            ),
            trainer.optimizers[0],
            [config.scheduler for config in trainer.lr_scheduler_configs],
            steps=steps - (0 if saved else self._seen),
            accumulate=trainer.accumulate_grad_batches,
            saved=saved,
            form=FORM,
            call=self._call,
        )
        if saved:
            draw_again(trainer)

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
