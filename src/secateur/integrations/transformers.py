"""Pruning as a callback of Hugging Face's Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.integrations import callbacks
from secateur.integrations.adapter import OWN, batch_of, field_of, fields, form_of, targets_of
from secateur.integrations.hosted import Hosted, inner, nothing_saved
from secateur.integrations.looked import Looked
from secateur.integrations.transformers_trainer import check, plain_forward
from secateur.problem import Task
from secateur.pruning import Sparsifier
from secateur.weighting import Weighting

if TYPE_CHECKING:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
else:
    TrainerCallback = callbacks.transformers()

_STATE = "secateur"  # the key in the first group of the optimizer's saved state
_REMEDY = (
    "give tasks, and Trainer(..., compute_loss_func=prune.compute_loss) where the targets are in the batch's labels, or return "
    "prune.loss(outputs, inputs) from compute_loss of a Trainer of your own."
)


class Prune(TrainerCallback):
    """Trains a method's zeros into the model of a Trainer; at the end of its last step the model is plain.

        Trainer(model, args, train_dataset=data, callbacks=[Prune(GroupLasso(density=0.3))]).train()

    Without tasks the model's own loss is the one task. With tasks the predictions are the fields of the model's output, and the
    targets the columns of the batch, that bear their names; of a single task the column may be ``labels`` too. What a run that
    is resumed needs is in the optimizer's file of each checkpoint. Where ``train()`` raises, the model stays under the method
    until the next ``train()``, or :meth:`undo`; ``with prune:`` around ``train()`` calls it.

    Args:
        method: Of one round.
        tasks: Name to task; the model's own loss if None.
        weighting: Equal weights if None.
    """

    def __init__(
        self,
        method: Sparsifier,
        tasks: Mapping[str, Task] | None = None,
        weighting: Weighting | None = None,
    ) -> None:
        self.tasks, self._hosted = tasks, Hosted(method, OWN if tasks is None else tasks, weighting, _REMEDY)
        self._hook: Any = None
        self._begun: object = None

    def loss(self, outputs: Any, targets: Mapping[str, Tensor]) -> Tensor:
        """What ``compute_loss`` of a Trainer of your own returns, with ``loss_is_scaled_for_ga = False`` in its class.

        Args:
            outputs: What the model returned.
            targets: The batch, or ``{task: target}``.
        """
        predictions = {task: field_of(outputs, task) for task in self._hosted.tasks}
        return self._hosted.loss(predictions, targets_of(targets, self.tasks) if self.tasks else predictions)

    def compute_loss(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Tensor:
        """For ``Trainer(compute_loss_func=prune.compute_loss)``: ``labels`` are ``{task: target}``, or a single task's target."""
        if not self.tasks or labels is None:
            raise ValueError(
                "Prune.compute_loss: it needs tasks and the batch's labels, {task: target} or a single task's target; "
                f"tasks is {self.tasks and sorted(self.tasks)} and labels {type(labels).__name__}."
            )
        total = self.loss(outputs, labels if isinstance(labels, Mapping) else {"labels": labels})
        return total / self._hosted.accumulate if total.requires_grad else total

    def undo(self) -> None:
        """Leaves the model plain where training broke off; twice does no harm."""
        self._hosted.undo()
        if self._hook is not None:
            self._hook.remove()
        self._hook = None

    def __enter__(self) -> Prune:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: nn.Module,
        optimizer: Optimizer,
        lr_scheduler: object,
        train_dataloader: Any,
        **_: Any,
    ) -> None:
        """Starts method and weighting; the optimizer is made, and what a checkpoint has is loaded."""
        if self._begun is state:
            raise ValueError("Prune: the trainer has the same one twice; one training has one method.")
        self.undo()  # of a training that raised
        check(args)
        self._begun, made = state, inner(optimizer)
        saved = made.param_groups[0].pop(_STATE, None) if state.global_step else None
        if state.global_step and (not saved or saved["pruning"]["done"] != state.global_step):
            how = "with from_pretrained and train without resume_from_checkpoint"
            raise nothing_saved(f"the checkpoint of step {state.global_step}", how)
        loader = getattr(train_dataloader, "base_dataloader", train_dataloader)
        with plain_forward(model):
            self._hosted.begin(
                model,
                Looked(loader, lambda found: batch_of(found, self.tasks)),
                made,
                [lr_scheduler],
                steps=state.max_steps,
                accumulate=args.gradient_accumulation_steps,
                saved=saved,
                form=form_of(self.tasks),
                call=fields(self.tasks),
            )
        self._hook = made.register_state_dict_post_hook(lambda _, found: self._add(found))

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step that was not announced must not be."""
        self._hosted.check_going_on()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ends a step; the method has done its part inside the optimizer's."""
        self._hosted.ended()

    def on_train_end(self, args: Any, state: Any, control: TrainerControl, **_: Any) -> None:
        """The end, where it comes early."""
        self._hosted.finish(early=control.should_training_stop)
        self.undo()

    def _add(self, found: dict[str, Any]) -> None:
        found["param_groups"][0][_STATE] = self._hosted.state_dict()
