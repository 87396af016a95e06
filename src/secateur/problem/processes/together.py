"""Several processes that train one network, whose batches may hold different tasks.

DDP averages the gradients of what it wraps, and waits for each of them in every process; so a task that a process lacks gives
zeros there. What method and weighting train beside the network is averaged after each backward pass, in one message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Variable
from torch.optim import Optimizer

from secateur.problem.problem import Problem
from secateur.problem.processes.shared import average_gradients, several
from secateur.problem.processes.whole import Whole


class Together:
    """What every process does for the others.

    Args:
        problem: Gives model and tasks.
        beside: Parameter groups of method and weighting; those of the model's own parameters are left out.
    """

    def __init__(self, problem: Problem, beside: Iterable[Mapping[str, Any]]) -> None:
        self._problem = problem
        own = set(
            map(id, problem.model.parameters())
        )  # which a method may have a group for; DDP averages them
        found = (p for group in beside for p in group["params"])
        self._beside: list[nn.Parameter] = [p for p in found if id(p) not in own]
        self._seen: set[str] = set()
        self.absent_too = False
        """Whether tasks that the model predicts nothing for get zeros as well; not where a wrapper looks for them itself."""
        self.whole: Whole | None = None
        """Computes the losses of the batch that the processes have shares of; None where each has batches of its own."""

    def completed(
        self, weighed: Mapping[str, Tensor], predictions: Mapping[str, Any], seen: Mapping[str, object]
    ) -> tuple[dict[str, Tensor], Tensor | float]:
        """A loss for each task that any process has, zero where this one lacks it, and what else the sum needs.

        Args:
            weighed: Task to the loss that this process has.
            predictions: What the model returned.
            seen: The tasks that any process has.
        """
        if not several():
            return dict(weighed), 0.0
        self._seen |= seen.keys()
        zeros = {
            t: _zero(v) for t in self._problem.tasks if t not in weighed and (v := self._ends(t, predictions))
        }
        all_losses = {**zeros, **weighed}
        ordered = {t: all_losses[t] for t in self._problem.tasks if t in seen and t in all_losses}
        device = next(self._problem.model.parameters()).device
        mark = torch.zeros((), device=device, requires_grad=True)
        rest = [_zero([mark], self.average), *(zero for t, zero in zeros.items() if t not in seen)]
        if self.absent_too and (idle := self._of(frozenset())):  # parameters that no task reaches
            rest.append(_zero(idle))
        return ordered, cast(Tensor, sum(rest))

    def average(self) -> None:
        """Averages the gradients of what is trained beside the model."""
        average_gradients(self._beside)

    def bind(self, optimizer: Optimizer) -> Any:
        """What only tasks reach that no process had since the last step is left alone by this one, as in a single process."""

        def forget(*_: object) -> None:
            for name, parameter in self._problem.model.named_parameters() if several() else ():
                owners = self._problem.owners.get(name)
                if owners is not None and not owners & self._seen:
                    parameter.grad = None
            self._seen.clear()

        return optimizer.register_step_pre_hook(forget)

    def _ends(self, task: str, predictions: Mapping[str, Any]) -> list[Tensor]:
        """What a loss of the task would reach."""
        if isinstance(end := predictions.get(task), Tensor):
            return [end] if end.requires_grad else []
        if not self.absent_too:
            return []
        trained = ((n, p) for n, p in self._problem.model.named_parameters() if p.requires_grad)
        return [p for name, p in trained if task in self._problem.owners.get(name, ())]

    def _of(self, owners: frozenset[str]) -> list[Tensor]:
        named = self._problem.model.named_parameters()
        return [p for n, p in named if p.requires_grad and self._problem.owners.get(n) == owners]


def _zero(ends: Sequence[Tensor], after: Callable[[], None] | None = None) -> Tensor:
    """Zero, whose gradient by ``ends`` is zero whatever they hold, NaN included; ``after`` is called at the end of the pass."""
    return cast(Tensor, _Zero.apply(after, *ends))


class _Zero(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, after: Callable[[], None] | None, *ends: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.after, ctx.like = after, [(e.shape, e.dtype, e.device) for e in ends]
        return ends[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if ctx.after is not None:
            cast(Any, Variable)._execution_engine.queue_callback(ctx.after)  # as FSDP does
        return None, *(torch.zeros(shape, dtype=dtype, device=device) for shape, dtype, device in ctx.like)
