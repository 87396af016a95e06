"""What the engine says against what the model says."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, fx

from secateur.deployment.engines import Engine, load_engine
from secateur.deployment.export.branches import check_branches
from secateur.deployment.export.network import Network
from secateur.deployment.export.refusals import refusals
from secateur.deployment.export.tracing import Traced, unchecked
from secateur.deployment.export.trials.sizes import elsewhere

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


def check(
    network: Network,
    engine: Engine,
    tensors: Sequence[Tensor],
    tolerance: float = TOLERANCE,
    outside: str = "",
) -> None:
    """Compares one pass.

    Args:
        network: The model.
        engine: The file's.
        tensors: An input.
        tolerance: Of a prediction's largest value.
        outside: What the trace took for granted that does not hold for ``tensors``, to be blamed.

    Raises:
        ValueError: If a task is off by more than ``tolerance``; the message names it and the error.
    """
    for task, error in differences(network, engine, tensors).items():
        if not error <= tolerance:  # also where it is not a number
            of = [list(tensor.shape) for tensor in tensors]
            if outside:
                raise ValueError(_another(task, of, outside))
            raise ValueError(
                f"export: {engine.name} {engine.version} predicts {task!r} with a relative error of {error:.2g} "
                f"(at most {tolerance:g}) on an input of {of}; no file was written. "
                "Try another format, or report the operation that differs."
            )


def otherwise(
    network: Network, path: Path, inputs: Sequence[Sequence[Tensor]], tolerance: float = TOLERANCE
) -> dict[str, str]:
    """What another engine that reads the file, and is installed, predicts otherwise than the model, in words by its name.

    OpenVINO reads ``.onnx`` too, and takes some operations for others without a word, such as a resize with antialiasing. What it refuses
    it says itself.
    """
    if path.suffix != ".onnx" or importlib.util.find_spec("openvino") is None:
        return {}
    with suppress(Exception):
        engine = load_engine(path, engine="openvino")
        for tensors in inputs:
            for task, error in differences(network, engine, tensors).items():
                if not error <= tolerance:
                    of = [list(tensor.shape) for tensor in tensors]
                    return {
                        engine.name: f"{task!r} is off by {error:.2g} of its largest value on an input of {of}"
                    }
    return {}


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

    def agrees(tensors: Sequence[Tensor], predictions: Mapping[str, Tensor], condition: str) -> bool:
        try:
            found = engine.call([tensor.detach().numpy() for tensor in tensors])
        except Exception:  # an engine that refuses a size is no wrong prediction
            return False
        for task, array in zip(traced.network.tasks, found, strict=True):
            expected = predictions[task]
            if _difference(array, expected) <= tolerance:
                continue
            of = [list(tensor.shape) for tensor in tensors]
            if any(1 in shape[2:] for shape in of) and _in_torch_too(
                traced, tensors, task, tolerance, expected
            ):
                continue  # the trace is right, and an engine at a height of 1 no reason
            raise ValueError(_another(task, of, condition))
        return True

    check_branches(traced, agrees, largest)
    for other in elsewhere(traced.trials, traced.granted, largest):
        agrees(other.tensors, other.predictions, other.condition)


def _another(task: str, of: list[list[int]], condition: str) -> str:
    why = f": the trace holds where {condition}" if condition else ""
    return f"export: {task!r} is another on an input of {of}{why}"


def _in_torch_too(
    traced: Traced, tensors: Sequence[Tensor], task: str, tolerance: float, expected: Tensor
) -> bool:
    """Whether what was traced predicts the same as the model."""
    module = traced.program.module()
    assert isinstance(module, fx.GraphModule)
    unchecked(module).recompile()
    try:
        with torch.no_grad():
            found = module(*tensors)[traced.network.tasks.index(task)].numpy()
    except Exception:  # a size that the trace is not for
        return False
    return _difference(found, expected) <= tolerance


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
