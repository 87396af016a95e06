"""One training under a pruning method in a loop that calls back: what the callbacks of all trainers share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.problem import Batch, Call, Problem, Task, rng_state, selected, set_rng_state, task_losses
from secateur.pruning import Sparsifier
from secateur.training import Guests, Pruning, check_whole
from secateur.weighting import Weighting


class Hosted:
    """A method and a weighting, and the :class:`secateur.Pruning` that is made of them for each training.

    Args:
        method: Of one round.
        tasks: Name to task.
        weighting: Equal weights if None.
        remedy: What to write where the loss must be ours.

    Raises:
        TypeError: If one of them is something else.
        ValueError: If there is no task, or the method has rounds, each of which begins with a new optimizer.
    """

    def __init__(
        self, method: Sparsifier, tasks: Mapping[str, Task], weighting: Weighting | None, remedy: str
    ) -> None:
        check_tasks(tasks)
        given: tuple[Any, Any] = (method, weighting)
        if not isinstance(given[0], Sparsifier) or not isinstance(given[1], (Weighting, type(None))):
            raise TypeError(
                f"Prune: method is {method!r} and weighting {weighting!r}; give a method such as SoftThreshold(density=0.1), "
                "and a weighting such as AdaptiveWeighting() or none."
            )
        if method.rounds > 1:
            raise ValueError(
                f"Prune: {type(method).__name__} trains {method.rounds} rounds, and a trainer makes one optimizer; use fit, or "
                "Pruning in a loop of your own."
            )
        self.method, self.tasks, self.weighting, self._remedy = method, tasks, weighting, remedy
        self.pruning: Pruning | None = None
        self.accumulate = 1
        self.over = False  # all steps are done, and the model is plain
        self._guests: Guests | None = None
        self._asked = False
        self._kept: dict[str, Any] = {}

    def begin(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        optimizer: Optimizer,
        schedulers: Iterable[object],
        *,
        steps: int,
        accumulate: int,
        saved: dict[str, Any] | None,
        form: str,
        call: Call | None = None,
    ) -> None:
        """Starts method and weighting on a model whose optimizer is made.

        Args:
            model: ``model(x) -> {task: prediction}``.
            batches: ``(x, {task: target})``; they are looked at.
            optimizer: The trainer's, wrapped or not.
            schedulers: Of its learning rates.
            steps: Optimizer steps of the whole training.
            accumulate: Batches to a step.
            saved: :meth:`state_dict` of the training that goes on; the model's and the optimizer's are loaded already.
            form: What model and loader must be, for the message.
            call: How the model is called, where ``model(x)`` is not ``{task: prediction}``.

        Raises:
            ValueError: If model, tasks, data, optimizer and saved state do not fit together.
        """
        self.accumulate, self.over, self._asked, self._kept = accumulate, False, False, {}
        problem, optimizer = Problem(model, self.tasks, batches, call=call), inner(optimizer)
        check_whole(problem.model, optimizer)
        try:
            _ = problem.owners
        except ValueError as error:
            if not isinstance(error.__cause__, (TypeError, NotImplementedError)):
                raise
            raise ValueError(
                f"Prune: the model does not take the batches as they are ({error.__cause__}). {form}"
            ) from error
        loaded = _tensors(problem.model) if saved else {}
        pruning = Pruning(problem, self.method, self.weighting, steps=steps, accumulate=accumulate).enter()
        self.pruning = pruning
        try:
            self._guests = Guests(problem.model, optimizer, pruning.groups(), schedulers)
            pruning.attach(optimizer)
            if saved:
                _load(problem.model, loaded)  # the start of a method may have pruned them
                pruning.load_state_dict(saved["pruning"])
                self._guests.load_state_dict(saved["optimizer"])
                set_rng_state(saved["rng"])
        except BaseException:
            self.undo()
            raise

    def loss(self, predictions: Any, targets: Mapping[str, Tensor]) -> Tensor:
        """The loss of one batch, not divided by the batches of a step; where no gradient is asked, the tasks' alone."""
        if not torch.is_grad_enabled():
            losses = task_losses(selected(predictions, targets, self.tasks), targets, self.tasks)
            weighed = [self.tasks[t].weight * loss for t, loss in losses.items()]
            return torch.stack(weighed).sum() if weighed else torch.zeros(())
        if self.pruning is None:
            raise RuntimeError(
                "Prune.loss: no training is under way; is this the callback that the Trainer got?"
            )
        self._asked = True
        return self.pruning.terms(predictions, targets).total

    def ended(self) -> None:
        """A step of the optimizer has ended; the last one ends the training, so that what is saved then has the zeros."""
        assert self.pruning is not None
        assert self._guests is not None
        own, self._asked = not self._asked, False
        try:
            self.pruning.step(own_loss=own)
        except ValueError as error:
            raise ValueError(f"{error} In this trainer: {self._remedy}") from error
        self._guests.zero_grad()
        if self.pruning.done == self.pruning.total:
            self.finish()
            self.over = True

    def check_going_on(self) -> None:
        """Raises RuntimeError if another step is about to follow the last one."""
        if self.over:
            raise RuntimeError(
                "Prune: all steps that the trainer announced are done and the model is plain, but training goes on, which would lose "
                "the zeros; give the trainer the number of steps (max_steps)."
            )

    def finish(self, *, early: bool = False) -> None:
        """Leaves the model plain with exact zeros; a training that is over already is left as it is."""
        if (pruning := self._let_go()) is not None:
            pruning.leave(early=early)

    def undo(self) -> None:
        """Leaves model and optimizer plain where training broke off; twice does no harm."""
        if (pruning := self._let_go()) is not None:
            pruning.undo()

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on beside model, optimizer and data; after the end, that of the end."""
        if self.pruning is None or self._guests is None:
            return self._kept
        parts = {"pruning": self.pruning.state_dict(), "optimizer": self._guests.state_dict()}
        return {**parts, "rng": rng_state()}

    def _let_go(self) -> Pruning | None:
        try:
            self._kept = self.state_dict()
        except (
            RuntimeError,
            FloatingPointError,
        ):  # in the middle of a step, or spoilt: nothing to go on from
            self._kept = {}
        if self._guests is not None:
            self._guests.release()
        pruning, self.pruning, self._guests = self.pruning, None, None
        return pruning


def check_tasks(tasks: object) -> None:
    """Raises TypeError or ValueError if ``tasks`` is no ``{name: Task}`` of at least one."""
    if not isinstance(tasks, Mapping) or not all(isinstance(task, Task) for task in tasks.values()):
        raise TypeError(f"Prune: tasks is {tasks!r}; give a mapping {{name: Task(loss)}}.")
    if not tasks:
        raise ValueError("Prune: tasks is empty; give at least one {name: Task(loss)}.")


def nothing_saved(source: object, how: str) -> ValueError:
    """What a training that goes on from a checkpoint without a state of Prune raises."""
    return ValueError(
        f"Prune: {source} holds no state of Prune, so nothing can be resumed; load its weights {how}."
    )


def inner(optimizer: Any) -> Optimizer:
    """The optimizer inside the wrappers of trainers."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return optimizer


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: value.detach().clone() for name, value in named}


@torch.no_grad()
def _load(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        value.copy_(values[name])
