"""One step's losses, and their gradients: what is added up, weighed, taught and aggregated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule  # pyright: ignore[reportPrivateUsage]
from torch import Tensor
from torch.nn.utils import parametrize

from secateur.problem import Problem, predict
from secateur.pruning import Sparsifier
from secateur.training.aggregation import Aggregator, aggregated
from secateur.training.distillation import Distillation
from secateur.weighting import Weighting

Losses = dict[str, Tensor]
Weights = Mapping[str, Tensor | float]


@dataclass
class Objective:
    """What a training step minimises.

    Args:
        problem: Gives tasks and losses.
        model: The problem's model as Fabric wraps it.
        method: Adds its penalty.
        weighting: Gives the weights, and adds its penalty.
        fabric: Does the backward pass.
        distillation: Adds the mismatch to a teacher to each task's loss; None adds nothing.
        aggregator: Decides on gradients that several tasks reach, in place of their sum; None sums.
    """

    problem: Problem
    model: _FabricModule
    method: Sparsifier
    weighting: Weighting
    fabric: Fabric
    distillation: Distillation | None = None
    aggregator: Aggregator | None = None

    def __post_init__(self) -> None:
        if self.distillation is not None:
            self.distillation.check(self.problem.tasks)
            self.fabric.to_device(self.distillation.teacher.eval())
        if (
            self.aggregator is not None
            and getattr(self.fabric.strategy.precision, "scaler", None) is not None
        ):
            raise ValueError("aggregator: gradients are scaled under 16-mixed; use bf16-mixed or 32-true.")

    def backward(self, x: Any, targets: Mapping[str, Tensor]) -> tuple[Losses, Weights]:
        """Leaves gradients in the parameters; returns each task's own loss, before weighing and teaching, and its weight."""
        apart = self.aggregator is not None and self.fabric.world_size > 1
        quiet = self.fabric.no_backward_sync(self.model) if apart else nullcontext()
        with (
            quiet,
            parametrize.cached(),
        ):  # a trunk that runs several times computes its effective weights once
            predictions = predict(self.model, x, targets, self.problem.tasks)
            losses = {t: self.problem.tasks[t].loss(p, targets[t]) for t, p in predictions.items()}
            weights = self.weighting(self._averaged(losses))
            taught = self.distillation(x, predictions) if self.distillation else {}
            terms = {
                t: self.problem.tasks[t].weight
                * weights[t]
                * (losses[t] + taught[t] if t in taught else losses[t])
                for t in losses
            }
            penalty = self.weighting.penalty() + self.method.penalty()
            if self.aggregator is None:
                self.fabric.backward(cast(Tensor, sum(terms.values()) + penalty))
            else:
                combine = partial(self._aggregate, list(terms.values()), penalty, self.aggregator)
                self.fabric.backward(cast(Tensor, _Backward(combine)))
        return losses, weights

    def _aggregate(self, terms: list[Tensor], penalty: Tensor | float, aggregator: Aggregator) -> None:
        """The aggregator decides on the network and the method's parameters; the weighting's follow the sum."""
        weighing = [p for group in self.weighting.param_groups() for p in group["params"]]
        trained = [p for p in self.problem.model.parameters() if p.requires_grad]
        trained += [p for group in self.method.param_groups() for p in group["params"]]
        trained = list({id(p): p for p in trained}.values())
        found = aggregated(terms, trained, aggregator, self._mean)
        for parameter, gradient in zip(trained, found, strict=True):
            parameter.grad = gradient
        if isinstance(penalty, Tensor) and penalty.requires_grad:
            _add(penalty, trained)
        if weighing:
            _add(cast(Tensor, sum(terms) + penalty), weighing)

    def _averaged(self, losses: Losses) -> Losses:
        """Losses averaged over processes, so that every process weighs alike."""
        if self.fabric.world_size == 1:
            return losses
        return {task: self._mean(loss.detach()) for task, loss in losses.items()}

    def _mean(self, value: Tensor) -> Tensor:
        return cast(Tensor, self.fabric.all_reduce(value)) if self.fabric.world_size > 1 else value


@dataclass(frozen=True)
class _Backward:
    """Stands for a loss in Fabric's backward pass, the only place where mixed precision lets gradients be taken."""

    backward: Callable[[], None]


def _add(loss: Tensor, parameters: Sequence[Tensor]) -> None:
    """Adds the gradients of ``loss`` to those of the parameters."""
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    for parameter, gradient in zip(parameters, cast(tuple[Tensor | None, ...], found), strict=True):
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
