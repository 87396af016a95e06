"""An ONNX file in int8, by ONNX Runtime's own tool, calibrated on inputs of training."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from secateur.deployment.engines import KEY, load_engine, need, quiet, seal, unseal
from secateur.deployment.export.floating import check_keep, kept_nodes
from secateur.deployment.export.network import Network
from secateur.deployment.export.parity import differences
from secateur.deployment.sparse import Weights, rewrite
from secateur.problem import Problem, described, preserved_rng

Quantize = Literal["int8"]
LARGEST_ERROR = 0.25  # of a prediction's largest value: beyond it nothing is left of the task
_BATCHES = 16  # that ranges are measured on at most
_CHECKED = 4  # of them that the error is measured on too
Tensors = tuple[Tensor, ...]


class LossyError(ValueError):
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
    quantize: str | None, calibrate: object, kind: str, weights: str, keep: Sequence[str] = ()
) -> None:
    """Raises ValueError, naming the remedy, if these do not go together."""
    if quantize is None and calibrate is None and not keep:
        return
    if quantize is None:
        given = "keep_float" if calibrate is None else "calibrate"
        raise ValueError(f"export: {given} is given, but nothing is quantised; add quantize='int8'.")
    if quantize != "int8":
        raise ValueError(f"export: quantize is {quantize!r}; it is 'int8', or None.")
    if kind != "onnx":
        raise ValueError(
            f"export: quantize is 'int8', which is for ONNX alone, and the format is {kind!r}; write .onnx, which OpenVINO reads too."
        )
    if weights == "sparse_float16":
        raise ValueError(
            "export: weights is 'sparse_float16', but those of int8 are bytes; let weights be 'sparse'."
        )
    if calibrate is None:
        raise ValueError(
            "export: quantize needs ranges of what the network computes; give calibrate=problem, or a list of training inputs."
        )


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
    if not largest > 0:
        raise ValueError(f"export: largest_error is {largest!r}; give a positive share of the largest value.")
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
    source = calibrate.batches("train") if isinstance(calibrate, Problem) else calibrate
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


def quantise(
    path: Path,
    made: Network,
    how: Calibration,
    checked: Iterable[Tensors],
    metadata: dict[str, Any],
) -> None:
    """Replaces the float32 file at ``path`` by one in int8: QuantizeLinear and DequantizeLinear around each layer.

    Weights have a scale a channel and are symmetric, so that zeros stay zeros; activations are uint8. The file says that it is
    lossy, and by how much, and what stayed in float: ``quantized``.

    Args:
        path: Dense ONNX; its name is kept.
        made: What it was made of, in float32.
        how: What to calibrate on, and what stays in float.
        checked: More inputs to measure the error on.
        metadata: To keep in the file.

    Raises:
        LossyError: If a task is off by more than it may.
    """
    batches, kept = how.batches, kept_nodes(path, made, how.keep)
    ir, tool, runtime = need("onnx", "onnx_ir", "onnxruntime.quantization", "onnxruntime")
    written = path.with_name("quantised.onnx")
    with quiet(), _silent():
        tool.quantize_static(
            str(path),
            str(written),
            _reader(tool, path, made, batches),
            quant_format=tool.QuantFormat.QDQ,
            per_channel=True,
            activation_type=tool.QuantType.QUInt8,
            weight_type=tool.QuantType.QInt8,
            nodes_to_exclude=kept,
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
        )
        model = ir.load(written)
        ir.external_data.load_to_model(model)
    written.unlink()
    rewrite(model, cast(Weights, metadata["weights"]))
    unseal(model.metadata_props)
    told: dict[str, Any] = {"type": "int8", "lossy": True, "tool": f"onnxruntime {runtime.__version__}"}
    told |= {"float": list(how.keep)}
    _save(ir, model, path, metadata | {"quantized": told})
    engine, errors = load_engine(path), dict.fromkeys(made.tasks, 0.0)
    for tensors in (*_fitting(path, made, batches[:_CHECKED]), *checked):
        for task, error in differences(made, engine, tensors).items():
            errors[task] = max(errors[task], error) if error == error else error  # NaN stays
    for task, error in errors.items():
        if not error <= how.largest:
            raise LossyError(
                f"export: in int8 {task!r} is off by {error:.2g} of its largest value (at most {how.largest:g}); no file was "
                f"written. Calibrate on more, or more typical, training inputs, keep its head in float (keep_float=[{task!r}]), or leave "
                "quantize out."
            )
    told |= {"errors": errors, "samples": sum(len(tensors[0]) for tensors in batches)}
    _save(ir, model, path, metadata | {"quantized": told})


def _save(ir: Any, model: Any, path: Path, about: Mapping[str, Any]) -> None:
    unseal(model.metadata_props)
    model.metadata_props[KEY] = json.dumps(about)
    with quiet():
        ir.save(model, path)
    seal(path)


def _reader(tool: Any, path: Path, made: Network, batches: Sequence[Tensors]) -> Any:
    """What the tool asks for inputs, one after another."""
    feeds = iter(
        [
            dict(zip(made.inputs, (t.detach().numpy() for t in x), strict=True))
            for x in _fitting(path, made, batches)
        ]
    )

    class Reader(tool.CalibrationDataReader):
        def get_next(self) -> Any:
            return next(feeds, None)

    return Reader()


def _fitting(path: Path, made: Network, batches: Sequence[Tensors]) -> Iterator[Tensors]:
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


@contextmanager
def _silent() -> Generator[None]:
    """The tool's advice to prepare the model is not heard: ours is prepared."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
