"""What int8 is calibrated on: inputs of training, checked before any work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from secateur.deployment.engines import load_engine
from secateur.deployment.export.floating import check_keep
from secateur.deployment.export.network import Network
from secateur.problem import Problem, RemediedError, described, preserved_rng

Quantize = Literal["int8"]
LARGEST_ERROR = 0.25  # of a prediction's largest value: beyond it nothing is left of the task
_BATCHES = 16  # that ranges are measured on at most
_KINDS = ("onnx", "openvino")  # formats that have it
Tensors = tuple[Tensor, ...]


class LossyError(RemediedError):
    """A quantised network that predicts something else altogether."""


@dataclass(frozen=True)
class Calibration:
    """How a file is quantised.

    Args:
        batches: To measure ranges on.
        keep: Tasks and modules that stay in float.
        largest: Error of a task, of its largest value, that is too much.
    """

    batches: Sequence[Tensors]
    keep: Sequence[str] = ()
    largest: float = LARGEST_ERROR


def check_quantize(
    quantize: str | None,
    calibrate: object,
    kind: str,
    weights: str,
    keep: Sequence[str] = (),
    largest: float = LARGEST_ERROR,
) -> None:
    """Raises ValueError, naming the remedy, if these do not go together."""
    if quantize is None:
        given = {"calibrate": calibrate is not None, "keep_float": bool(keep)}
        given["largest_error"] = largest != LARGEST_ERROR
        if name := next((name for name, said in given.items() if said), None):
            raise ValueError(f"export: {name} is given, but nothing is quantised; add quantize='int8'.")
        return
    if quantize != "int8":
        raise ValueError(f"export: quantize is {quantize!r}; it is 'int8', or None.")
    if kind not in _KINDS:
        raise ValueError(
            f"export: quantize is 'int8', which is for {' and '.join(_KINDS)}, and the format is {kind!r}; write .onnx or .xml."
        )
    if weights == "sparse_float16":
        raise ValueError(
            "export: weights is 'sparse_float16', but those of int8 are bytes; let weights be 'sparse'."
        )
    if calibrate is None:
        raise ValueError(
            "export: quantize needs ranges of what the network computes; give calibrate=problem, or a list of training inputs."
        )
    if isinstance(largest, bool) or not largest > 0:  # infinite: none is too much
        raise ValueError(f"export: largest_error is {largest!r}; give a positive share of the largest value.")


def calibration(
    made: Network,
    calibrate: Problem | Iterable[Any],
    keep: Sequence[str] = (),
    largest: float = LARGEST_ERROR,
) -> Calibration:
    """At most 16 inputs, as the network takes them; where each task has its own, they are put together.

    Args:
        made: The network.
        calibrate: A problem, whose training batches are taken, or inputs, or batches ``(x, targets)``.
        keep: Tasks and modules that stay in float.
        largest: Error that is too much.

    Raises:
        ValueError: If there is none, or one that the network does not take, or ``keep`` names what it has not.
    """
    check_keep(made, keep)
    found: list[Tensors] = []
    with preserved_rng():
        for tensors in islice(_inputs(made, calibrate), _BATCHES):
            shapes = [list(t.shape[1:]) for t in tensors], [list(t.shape[1:]) for t in made.example]
            if [len(s) for s in shapes[0]] != [len(s) for s in shapes[1]] or not all(map(len, tensors)):
                raise ValueError(
                    f"export: calibrate gave {shapes[0]}, and example is {shapes[1]}; give such inputs."
                )
            found.append(tensors)
    if not found:
        raise ValueError("export: calibrate holds no input; give some of the training data.")
    return Calibration(found, tuple(keep), largest)


def _inputs(made: Network, calibrate: Problem | Iterable[Any]) -> Iterator[Tensors]:
    source: Iterable[Any] = calibrate.batches("train") if isinstance(calibrate, Problem) else calibrate
    held_in = calibrate.values() if isinstance(calibrate, Mapping) else [calibrate]
    if all(isinstance(value, Tensor) for value in held_in):  # one batch, and no list of them
        source = [calibrate]
    owners = [owner for owner in made.inputs.values() if owner is not None]
    held: dict[str, Any] = {}
    for batch in source:
        x: Any = batch[0] if isinstance(batch, (tuple, list)) else batch
        if isinstance(x, Tensor) != (not owners) or not isinstance(x, (Tensor, Mapping)):
            raise ValueError(f"export: calibrate gave {described(batch)}; give inputs such as example.")
        if isinstance(x, Tensor):
            yield made.listed(x)
            continue
        held |= cast(Mapping[str, Any], x)
        if all(owner in held for owner in owners):
            count = min(len(held[owner]) for owner in owners)
            yield made.listed({owner: held[owner][:count] for owner in owners})
            held = {}


def fitting(path: Path, made: Network, batches: Sequence[Tensors]) -> Iterator[Tensors]:
    """The batches, in pieces of the file's batch where that is fixed; the last one filled up.

    Raises:
        ValueError: If a size is fixed and theirs is another.
    """
    shapes = [given["shape"] for given in load_engine(path).about["inputs"].values()]
    for tensors in batches:
        for tensor, shape in zip(tensors, shapes, strict=True):
            sides = zip(tensor.shape[1:], shape[1:], strict=True)
            if any(isinstance(fixed, int) and side != fixed for side, fixed in sides):
                raise LossyError(
                    f"export: calibrate gave an input of {list(tensor.shape)}, and the file is for {shape}; give inputs of the "
                    "example's size."
                )
        step = next((shape[0] for shape in shapes if isinstance(shape[0], int)), len(tensors[0]))
        for start in range(0, len(tensors[0]), max(step, 1)):
            rows = torch.arange(start, start + step).clamp(max=len(tensors[0]) - 1)
            yield tuple(tensor[rows].contiguous() for tensor in tensors)
