"""What an exported file says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from secateur.deployment.export.tracing import Traced

_OWN = (
    "version",
    "tasks",
    "inputs",
    "dynamic",
    "fixed",
    "weights",
    "quantized",
    "dead",
    "restarts",
    "otherwise",
)


def facts(traced: Traced) -> dict[str, Any]:
    """Of tasks, inputs, and what may vary."""
    made = traced.network
    shapes = zip(made.inputs.items(), traced.shapes.values(), made.example, strict=True)
    predictions = made.predict(made.example)
    return {
        "version": 1,
        "tasks": {task: {"channels": p.shape[1] if p.ndim > 1 else 1} for task, p in predictions.items()},
        "inputs": {
            name: {"task": task, "shape": shape, "example": list(x.shape)}
            for (name, task), shape, x in shapes
        },
        "dynamic": sorted(traced.symbols),
    } | ({"restarts": list(made.changing)} if made.changing else {})


def restarts_said(changing: Sequence[str]) -> str:
    """What a file does not do, in one sentence."""
    return (
        f"the model changes {', '.join(changing)} in its forward pass; the file carries nothing on from one call to the next, and begins "
        "each with what the model has now."
    )


def otherwise_said(name: str, unlike: Mapping[str, str]) -> str:
    """Which engines the file is not for, in one sentence."""
    why = "; ".join(f"in {engine} {what}" for engine, what in unlike.items())
    return (
        f"{name} predicts what the model does in its own engine, but not in every one that reads it: {why}. There it is not run; export "
        "to .xml for OpenVINO."
    )


def plain(about: Mapping[str, Any]) -> dict[str, Any]:
    """What the caller says of the network, if a file can hold it; raises ValueError otherwise."""
    taken = sorted(set(about) & set(_OWN))
    if taken:
        raise ValueError(f"export: about has {taken}, which export writes itself; choose other names.")
    try:
        return json.loads(json.dumps(dict(about)))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"export: about must hold plain values such as numbers, text and lists ({error})."
        ) from error


def check_sizes(given: list[tuple[Tensor, ...]], metadata: dict[str, Any]) -> None:
    """Raises ValueError unless all inputs are of the example's size."""
    expected = [x.shape for x in given[0]]
    for index, tensors in enumerate(given[1:]):
        if [x.shape for x in tensors] != expected:
            why = "; ".join(metadata.get("fixed", {}).values()) or "dynamic is False"
            raise ValueError(
                f"export: inputs[{index}] is {[list(x.shape) for x in tensors]}, but the file can be had only for the "
                f"example's {[list(shape) for shape in expected]}: {why}"
            )


def lengths(inputs: Mapping[str, Tensor]) -> dict[str, str]:
    """That sequences of whole numbers, (N, T), are of the length of the example, as ``fixed`` says it."""
    tokens = [
        n for n, x in inputs.items() if x.ndim == 2 and not x.is_floating_point() and not x.is_complex()
    ]
    return {"length": f"axis 1 of {', '.join(tokens)} is that of the example"} if tokens else {}
