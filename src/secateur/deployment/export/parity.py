"""What the engine says against what the model says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, fx

from secateur.deployment.engines import Engine
from secateur.deployment.export.network import Network
from secateur.deployment.export.refusals import refusals
from secateur.deployment.export.sizes import Elsewhere, elsewhere
from secateur.deployment.export.tracing import Traced, unchecked

TOLERANCE, ROUNDED = 1e-4, 1e-2  # of a prediction's largest value; where weights were rounded to float16


def differences(network: Network, engine: Engine, tensors: Sequence[Tensor]) -> dict[str, float]:
    """Largest difference of each task's prediction, as a fraction of the prediction's largest absolute value.

    Infinite where the shapes differ; where the model predicts only zeros the difference itself. Infinities of masked scores are no
    difference where both have them.
    """
    expected = network.predict(tensors)
    with refusals(engine.name):
        found = engine.call([tensor.detach().numpy() for tensor in tensors])
    return {
        task: _difference(array, expected[task]) for task, array in zip(network.tasks, found, strict=True)
    }


def check(network: Network, engine: Engine, tensors: Sequence[Tensor], tolerance: float = TOLERANCE) -> None:
    """Compares one pass.

    Raises:
        ValueError: If a task is off by more than ``tolerance``; the message names it and the error.
    """
    for task, error in differences(network, engine, tensors).items():
        if not error <= tolerance:  # also where it is not a number
            raise ValueError(
                f"export: {engine.name} {engine.version} predicts {task!r} with a relative error of {error:.2g} "
                f"(at most {tolerance:g}) on an input of {[list(t.shape) for t in tensors]}; no file was written. "
                "Try another format, or report the operation that differs."
            )


def check_elsewhere(
    traced: Traced,
    engine: Engine,
    tolerance: float = TOLERANCE,
    largest: Sequence[Sequence[int]] | None = None,
) -> None:
    """Compares sizes that the trace does not speak for, where model and engine take them.

    Args:
        traced: What the file was made of.
        engine: The file's.
        tolerance: As of :func:`check`.
        largest: Size of each input that the file takes at most.

    Raises:
        ValueError: If a task is off at one of them; the message names the condition that decides it.
    """
    for other in elsewhere(traced.network, traced.shapes, traced.granted, largest):
        try:
            found = engine.call([tensor.detach().numpy() for tensor in other.tensors])
        except Exception:  # an engine that refuses a size is no wrong prediction
            continue
        for task, array in zip(traced.network.tasks, found, strict=True):
            expected = other.predictions[task]
            if _difference(array, expected) <= tolerance:
                continue
            if (
                other.condition.endswith("!= 1")
                and _difference(_in_torch(traced, other, task), expected) <= tolerance
            ):
                continue  # torch asks of every axis whether it is 1; the trace is right, and an engine at a height of 1 no reason
            of = [list(tensor.shape) for tensor in other.tensors]
            why = f": the trace holds where {other.condition}" if other.condition else ""
            raise ValueError(f"export: {task!r} is another on an input of {of}{why}")


def _in_torch(traced: Traced, other: Elsewhere, task: str) -> np.ndarray:
    """What the trace predicts itself."""
    module = traced.program.module()
    assert isinstance(module, fx.GraphModule)
    unchecked(module).recompile()
    with torch.no_grad():
        return module(*other.tensors)[traced.network.tasks.index(task)].numpy()


def _difference(found: np.ndarray, expected: Tensor) -> float:
    if tuple(found.shape) != tuple(expected.shape):
        return float("inf")
    if not expected.numel():
        return 0.0
    reference, array = expected.detach().double().numpy(), found.astype(np.float64)
    same = (array == reference) | (np.isnan(array) & np.isnan(reference))  # infinities, of masked scores
    with np.errstate(invalid="ignore"):
        gaps = np.where(same, 0.0, np.abs(array - reference))
    scale = float(np.abs(reference[np.isfinite(reference)]).max(initial=0.0)) or 1.0
    return float(gaps.max()) / scale
