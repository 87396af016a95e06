"""What the engine says against what the model says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from secateur.deployment.engines import Engine
from secateur.deployment.export.network import Network
from secateur.deployment.export.tracing import Traced

TOLERANCE, ROUNDED = 1e-4, 1e-2  # of a prediction's largest value; where weights were rounded to float16
_STEPS = (32, 64, 128, 256)  # pixels: networks halve their input up to five times, some more often


def differences(network: Network, engine: Engine, tensors: Sequence[Tensor]) -> dict[str, float]:
    """Largest difference of each task's prediction, as a fraction of the prediction's largest absolute value.

    Infinite where the shapes differ; where the model predicts only zeros the difference itself.
    """
    expected = network.predict(tensors)
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


def other_sizes(traced: Traced) -> Iterator[tuple[Tensor, ...]]:
    """The example at another size along each axis that may vary: repeated, as far as it takes to fill it.

    Raises:
        ValueError: If the model itself takes no other size that was tried.
    """
    network = traced.network
    names = list(traced.symbols)
    if "batch" in {name.split("_")[0] for name in names}:
        yield _resized(traced, {n: 1 for n in names if n.startswith("batch")})
    sizes = [name for name in names if not name.startswith("batch")]
    for step in _STEPS if sizes else ():
        tensors = _resized(traced, {name: step * index for index, name in enumerate(sizes, start=1)})
        try:
            network.predict(tensors)
        except RuntimeError:  # such as two maps to be added that no longer fit
            continue
        yield tensors
        return
    if sizes:
        raise ValueError("export: the model takes no other size that was tried")


def _resized(traced: Traced, more: dict[str, int]) -> tuple[Tensor, ...]:
    made: list[Tensor] = []
    for tensor, shape in zip(traced.network.example, traced.shapes.values(), strict=True):
        for axis, name in enumerate(shape):
            if isinstance(name, str) and name in more:
                size = tensor.shape[axis]
                tensor = tensor.index_select(axis, torch.arange(size + more[name]) % size)
        made.append(tensor.contiguous())
    return tuple(made)


def _difference(found: np.ndarray, expected: Tensor) -> float:
    if tuple(found.shape) != tuple(expected.shape):
        return float("inf")
    if not expected.numel():
        return 0.0
    reference = expected.detach().double().numpy()
    scale = float(np.abs(reference).max()) or 1.0
    return float(np.abs(found.astype(np.float64) - reference).max()) / scale
