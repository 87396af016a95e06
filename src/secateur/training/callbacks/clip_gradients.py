"""Gradients that are cut to a largest size before the step (Pascanu et al. 2013, arXiv 1211.5063)."""

from __future__ import annotations

from typing import cast

from torch import nn

from secateur.problem import RemediedError, is_number
from secateur.training.callbacks.callback import Callback
from secateur.training.callbacks.course import Course
from secateur.training.optimizer import inside


class ClipGradients(Callback):
    """Scales all gradients down together where their norm is larger, or cuts each of their elements; under any precision.

    The norm is over all that the optimizer trains, pruned weights, thresholds and task weights included.

    Args:
        norm: Largest Euclidean norm of all gradients together; give this or ``value``.
        value: Largest size of an element.

    Raises:
        ValueError: If not exactly one is given, or it is not positive.
    """

    single = True
    turn = 2  # sees what other callbacks have made of the gradients

    def __init__(self, norm: float | None = None, value: float | None = None) -> None:
        if (norm is None) == (value is None):
            given = "neither norm nor value is" if norm is None else "both norm and value are"
            raise RemediedError(
                f"ClipGradients: {given} given;",
                "give exactly one, such as norm=1.0.",
                "give exactly one, such as '[{name: ClipGradients, norm: 1.0}]'.",
            )
        name, most = ("norm", norm) if value is None else ("value", value)
        if not is_number(most) or not cast(float, most) > 0.0:
            raise ValueError(f"ClipGradients: {name} is {most!r}; give a positive number.")
        self.norm, self.value = norm, value

    def before_step(self, course: Course) -> None:
        """Clips; a gradient that is not finite is left to be named by its task."""
        optimizer = inside(course.optimizer)
        scaler = getattr(course.fabric.strategy.precision, "scaler", None)
        if (
            scaler is not None
        ):  # not through Fabric, which refuses the fused Adam here, while torch takes gradients unscaled
            scaler.unscale_(optimizer)
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        if self.norm is not None:
            nn.utils.clip_grad_norm_(trained, self.norm)
        elif self.value is not None:
            nn.utils.clip_grad_value_(trained, self.value)
