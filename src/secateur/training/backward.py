"""The backward pass of the training loop: the sum of all losses, or an aggregator's decision on what tasks share."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from secateur.problem import InStep, Whole, fed, to_device
from secateur.training.aggregation import Aggregator, aggregated
from secateur.training.objective import Terms
from secateur.training.pruning import Pruning

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule  # pyright: ignore[reportPrivateUsage]


@dataclass
class Backward:
    """Leaves gradients in the parameters.

    Args:
        pruning: Says what is trained, and how many batches make a step.
        model: The problem's model as Fabric wraps it.
        fabric: Does the backward pass.
        aggregator: Decides on gradients that several tasks reach, in place of their sum; None sums.
        shared: Each process has a share of every batch, and all compute as one process does on the whole batch.

    Raises:
        ValueError: If gradients are scaled, which aggregators are not told.
    """

    pruning: Pruning
    model: _FabricModule
    fabric: Fabric
    aggregator: Aggregator | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        if self.aggregator is not None and self.pruning.turns.accumulate > 1:
            raise ValueError(
                f"fit: accumulate is {self.pruning.turns.accumulate}, and an aggregator decides on the gradients of each batch; give one of them."
            )
        scaled = getattr(self.fabric.strategy.precision, "scaler", None) is not None
        if self.aggregator is not None and scaled:
            raise ValueError("aggregator: gradients are scaled under 16-mixed; use bf16-mixed or 32-true.")
        inner = getattr(self.model, "_forward_module", None)
        finds = getattr(
            inner, "find_unused_parameters", False
        )  # DDP: parameters that no output reaches count as done
        self.pruning.together.absent_too = self.aggregator is not None or not finds
        if self.shared:
            self.pruning.together.whole = Whole(self.pruning.problem.tasks, self.fabric.device)

    def step(self, stream: Iterator[Any]) -> list[Terms]:
        """Leaves the gradients of one step in the parameters; returns the terms of each of its batches, those with labels."""
        problem, batches = self.pruning.problem, self.pruning.turns.accumulate
        found: list[Terms] = []
        while len(found) < batches:
            x, targets = to_device(problem.batch(next(stream)), self.fabric.device)
            with self._around(last=len(found) == batches - 1):
                runs = targets or self.fabric.world_size > 1  # processes keep step
                terms = self.pruning.terms(fed(self.model, x) if runs else {}, targets, x)
                if terms.empty:
                    continue
                self(terms)
            found.append(terms)
        return found

    @contextmanager
    def _around(self, last: bool) -> Generator[None]:
        """For forward and backward pass: with an aggregator, and before the last batch, each process has its own gradients."""
        apart = (self.aggregator is not None or not last) and self.fabric.world_size > 1
        own = self.fabric.no_backward_sync(self.model) if apart else nullcontext()
        with own, InStep() if self.shared else nullcontext():
            yield

    def __call__(self, terms: Terms) -> None:
        """The backward pass of one batch."""
        if self.aggregator is None:
            batches = self.pruning.turns.accumulate
            self.fabric.backward(terms.total / batches if batches > 1 else terms.total)
        else:
            self.fabric.backward(cast(Tensor, _Deferred(lambda: self._aggregate(terms))))

    def _aggregate(self, terms: Terms) -> None:
        """The aggregator decides on the network and the method's parameters; the weighting's follow the sum."""
        assert self.aggregator is not None
        pruning, penalty = self.pruning, terms.penalty
        weighing = [p for group in pruning.weighting.param_groups() for p in group["params"]]
        trained = [p for p in pruning.problem.model.parameters() if p.requires_grad]
        trained += [p for group in pruning.method.param_groups() for p in group["params"]]
        trained = list({id(p): p for p in trained}.values())
        tasks = pruning.problem.tasks
        losses = {
            t: loss for t, loss in terms.weighed.items() if loss.requires_grad
        }  # of tasks not all frozen
        losses = {t: loss for t, loss in losses.items() if tasks[t].weight > 0} or losses
        try:
            found = aggregated(list(losses.values()), trained, self.aggregator, self._mean)
        except Exception as error:
            lacking = [task for task in tasks if task not in losses]
            if not lacking:
                raise
            raise ValueError(
                f"aggregator {type(self.aggregator).__name__} does not take the gradients of {list(losses)} alone ({error}), and this "
                f"batch has none of {lacking}, or they train nothing. Give batches that have every task, or an aggregator that takes any "
                "number of them."
            ) from error
        for parameter, gradient in zip(trained, found, strict=True):
            parameter.grad = gradient
        if isinstance(penalty, Tensor) and penalty.requires_grad:
            _add(penalty, trained)
        if weighing:
            _add(terms.total, weighing)
        pruning.together.average()

    def _mean(self, value: Tensor) -> Tensor:
        return cast(Tensor, self.fabric.all_reduce(value)) if self.fabric.world_size > 1 else value


@dataclass(frozen=True)
class _Deferred:
    """Stands for a loss in Fabric's backward pass, the only place where mixed precision lets gradients be taken."""

    backward: Callable[[], None]


def _add(loss: Tensor, parameters: Sequence[Tensor]) -> None:
    """Adds the gradients of ``loss`` to those of the parameters."""
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    for parameter, gradient in zip(parameters, cast(tuple[Tensor | None, ...], found), strict=True):
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
