"""One training under a pruning method, in any loop: what happens around each step, and undoing it where something raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, is_grad_enabled, nn
from torch.optim import Optimizer

from secateur.problem import Problem, Together, components, prunable, same_buffers
from secateur.pruning import Density, Sparsifier, density, detach
from secateur.training.attached import Attached
from secateur.training.distillation import Distillation
from secateur.training.finite.finite import Finite
from secateur.training.followers import Followers
from secateur.training.hold import ComputingOnce, Hold, check_missed, check_parts
from secateur.training.labels import Labels
from secateur.training.objective import Objective, Terms
from secateur.training.optimizer import check_groups, groups, inside
from secateur.training.resuming.identity import identity_of_pruning
from secateur.training.resuming.taken import Remembered
from secateur.training.several import guards
from secateur.training.turns import Turns
from secateur.weighting import Weighting


class Pruning:
    """A method and a weighting at work: ``with Pruning(problem, SoftThreshold(density=0.1), steps=...) as pruning:``.

    After the block the model is plain again, its zeros exact; where anything raised, plain as training left it, or as it was before.

    Args:
        problem: Model, tasks and data; the data are looked at (owners, scores), not trained on.
        method: Dense training if None.
        weighting: Equal weights if None.
        steps: Optimizer steps, a round.
        accumulate: Batches to an optimizer step; the loss of each is divided by it.
        distillation: A teacher that the network follows beside the labels; then :meth:`loss` takes the input too.
    """

    def __init__(
        self,
        problem: Problem,
        method: Sparsifier | None = None,
        weighting: Weighting | None = None,
        *,
        steps: int,
        accumulate: int = 1,
        distillation: Distillation | None = None,
    ) -> None:
        self.problem, self.distillation = problem, distillation
        self.method, self.weighting = method or Sparsifier(), weighting or Weighting()
        check_parts(self.problem, self.method, self.weighting)
        self._identity = identity_of_pruning(problem, self.method, self.weighting)
        self._hold, self._followers, self._left = Hold(), Followers(problem.model), False
        self._objective = cast("Objective | None", None)
        self.turns = Turns(steps, self.method.rounds, accumulate, self.method.resumes_at)
        self._attached = Attached(self.turns)

    @property
    def done(self) -> int:
        """Steps that have ended, over all rounds."""
        return self.turns.done

    @property
    def total(self) -> int:
        """Steps over all rounds."""
        return self.turns.total

    @property
    def left(self) -> int:
        """Steps that the round under way still has; the next round wants a new optimizer."""
        return self.turns.steps - self.turns.place

    def __enter__(self) -> Pruning:
        return self.enter()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            self.undo()
        elif not self._left:
            self.leave()

    def enter(self) -> Pruning:
        """Starts method and weighting; what they refuse, they refuse here, and leave the model as it was.

        RuntimeError if the model is being pruned already, ValueError if settings, model and data do not fit.
        """
        if self._objective is not None or self._left:
            raise RuntimeError("Pruning is entered already; one Pruning is one training, make another.")
        self._components, self.finite = components(self.problem), Finite(self.problem)  # of plain layers
        if self.distillation is not None:
            self.distillation.start(self.problem)
        held = prunable(self.problem.model), (self.method, self.weighting)
        self._hold.check(*held)
        try:
            self._hold.take(self.problem.model, *held)
            self._followers.begin(held[0])
            self.method.start(self.problem, self.turns.steps)
            self.weighting.start(self.problem, self.turns.steps * self.turns.accumulate)
            self._extra = self.finite.watch(held[1])
            self._once = ComputingOnce(self.problem)
            self.labels, self.together = Labels(self.problem), Together(self.problem, self._extra)
            parts = dict[str, Any](method=self.method, weighting=self.weighting, labels=self.labels)
            own = self.together, self.turns, self.finite
            self._remembered = Remembered(self.problem, self._identity, parts, *own)
            beside = self.together, self.distillation, self.labels, self.finite
            self._objective = Objective(self.problem, *held[1], *beside)
            return self
        except BaseException:
            self.undo()
            raise

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer: the model's, and those that method and weighting train."""
        return groups(self._entered().problem, self._extra)

    def attach(self, optimizer: Optimizer | Sequence[Optimizer]) -> Optimizer:
        """From now on this optimizer's steps, which is returned, are the training's; a new round needs a new one.

        Of several in a list, each with a part of the groups, what is returned steps them all, and alone they refuse to.
        The zeros are kept around every step, and the method does its part right after it, while the gradients are there.

        ValueError if it lacks parameters of :meth:`groups`, or has them with other settings than the groups have.
        """
        self._entered()
        self._hold.check_same(self.problem.model)
        given, optimizer = optimizer, inside(optimizer)
        given = given[0] if isinstance(given, Sequence) and len(given) == 1 else given
        check_groups(self.problem.model, self.groups(), optimizer)
        self.method.bind(optimizer)
        self._attached.release()
        hooks = self.turns.begin(optimizer), self.finite.bind(optimizer, lambda: self.done)
        hooks = [*hooks, self.together.bind(optimizer), *guards(optimizer)]
        self._attached.take(optimizer, hooks, self._updated)
        return optimizer if isinstance(given, Sequence) else given

    def loss(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor], x: Any = None) -> Tensor:
        """The loss of one batch: the tasks' losses weighed, and the penalties of method and weighting; over ``accumulate``.

        Args:
            predictions: ``{task: prediction}``, what the model returned.
            targets: ``{task: target}``; it may lack some tasks, or all: then the losses are zero.
            x: The model's input, for a teacher.

        Raises:
            ValueError, RuntimeError: If predictions, targets and tasks do not fit together; if it is not a loss's turn.
        """
        return self.terms(predictions, targets, x).total / self.turns.accumulate

    def terms(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor], x: Any = None) -> Terms:
        """The same in its parts, for whoever takes gradients of each task; not divided."""
        objective = self._entered()
        if is_grad_enabled():  # otherwise it is validation, which nothing is to learn from
            self.turns.ask()
        terms = objective(predictions, targets, x)
        self.turns.labelled |= is_grad_enabled() and not terms.empty
        return terms

    def step(self, *, own_loss: bool = False) -> None:
        """Ends a training step; call it once after each step of the optimizer, or after one that a gradient scaler skipped.

        With ``own_loss`` the loss was the caller's own, which only a method without a penalty and equal weights can do with.
        RuntimeError if there was no loss, no optimizer, no step left, or, over many steps, no gradient; or if weights were replaced or unfrozen.
        """
        objective, skipped = self._entered(), self.turns.end(own_loss)  # by a gradient scaler
        self._hold.look(self.problem.model)
        self._attached.reset()
        if own_loss:
            objective.check_own_loss()
        if skipped:
            self._updated(stepped=False)
        self.method.enforce()
        self.turns.next(skipped, own_loss)
        if self.turns.between_rounds:
            self.finite.check()  # before weights are ranked
            self.method.after_round(self.turns.ended - 1)
            self._attached.release()

    def density(self) -> Density:
        """What is left at present: overall, by component, by layer."""
        return density(self._entered().problem.model, self._components)

    def follow(self, copy: nn.Module | Mapping[str, Tensor]) -> Any:
        """Takes a copy of the model along, such as an average: the tensors that it has when the training ends get the same zeros."""
        return self._followers.add(copy)

    def leave(self, *, early: bool = False) -> None:
        """Ends the training, ``early`` if steps are left: the model is plain, with exact zeros; copies that follow get them too.

        RuntimeError, ValueError or FloatingPointError if steps or the zeros asked are missing, or a weight is not finite.
        """
        self._entered()
        self._hold.begin()
        try:
            self._hold.check_same(self.problem.model)
            same_buffers(self.problem.model)
            self.finite.check()
            with self._followers.following():
                self.method.finish()
            self._followers.finish()
        finally:
            self._left = True
            self.undo()
        self.finite.end()
        self.turns.check_ended(early)
        check_missed(self.method)

    def undo(self) -> None:
        """Leaves the model plain where training broke off. Twice does no harm."""
        self._attached.release()
        self._hold.release()
        self._objective = None
        self._followers.end()
        self.method.undo()
        detach(self.problem.model)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on beside model, optimizer, gradients and data, as tensors and plain values; weights are finite."""
        self._entered()
        return self._remembered.saved()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up :meth:`state_dict`, once the block is entered; the model's and the optimizer's are loaded beside it.

        Another method, weighting, length, shape or number of processes is a ValueError that names it; nothing is changed. A step that
        broke off, as where a loss is NaN, is forgotten.
        """
        self._entered()
        self._remembered.check(state)
        self._hold.begin()
        self._remembered.take_up(state)
        self._once.begin()
        self._attached.reset()
        if self.turns.between_rounds:
            self._attached.release()  # the next round begins with a new one

    def _updated(self, stepped: bool = True) -> None:  # right after the optimizer
        step, optimizer = self.turns.update(stepped), cast(Optimizer, self._attached.optimizer)
        with self.turns.breaking(), self.finite.stepped(optimizer, stepped), self._followers.following():
            self._hold.begin()
            self.method.after_step(step, optimizer)

    def _entered(self) -> Objective:
        if self._objective is None:
            raise RuntimeError("Pruning is not entered, or was left; write `with Pruning(...) as pruning:`.")
        return self._objective
