"""Writes a model to one file that an engine runs, and checks there that it still predicts the same."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from torch import Tensor, nn

from secateur.deployment.engines import kept_logging, load_engine, seal, silent
from secateur.deployment.export import to_executorch, to_onnx, to_openvino, to_pt2
from secateur.deployment.export.calibration import (
    LARGEST_ERROR,
    Calibration,
    LossyError,
    Quantize,
    calibration,
    check_quantize,
)
from secateur.deployment.export.facts import check_sizes, facts, lengths, otherwise_said, plain, restarts_said
from secateur.deployment.export.network import Network, network
from secateur.deployment.export.parity import ROUNDED, TOLERANCE, check, check_elsewhere, otherwise
from secateur.deployment.export.quantizing import quantise, require_tool
from secateur.deployment.export.refusals import beside, first_line, refusals
from secateur.deployment.export.tracing import Axes, trace
from secateur.deployment.export.trials.sizes import other_sizes
from secateur.deployment.sparse import Weights
from secateur.measures import DeadTaskWarning, dead_said, unmoved, varied
from secateur.problem import Call, Input, Problem, preserved_rng
from secateur.storage import folder_aside, put, temporaries_in

Format = Literal["onnx", "openvino", "executorch", "pt2"]
_SUFFIXES: dict[str, Format] = {".onnx": "onnx", ".xml": "openvino", ".pte": "executorch", ".pt2": "pt2"}
_WRITERS: dict[Format, ModuleType] = {
    "onnx": to_onnx,
    "openvino": to_openvino,
    "executorch": to_executorch,
    "pt2": to_pt2,
}
_LEVELS: tuple[Axes, ...] = (
    frozenset({"batch", "size"}),
    frozenset({"batch"}),
    frozenset({"size"}),
    frozenset[Literal["batch", "size"]](),
)


def export(
    model: nn.Module,
    example: Input,
    path: Path | str,
    format: Format | None = None,  # noqa: A002 (what it is)
    *,
    tasks: Sequence[str] | None = None,
    about: Mapping[str, Any] | None = None,
    inputs: Sequence[Input] = (),
    dynamic: bool = True,
    weights: Weights = "sparse",
    call: Call | None = None,
    quantize: Quantize | None = None,
    calibrate: Problem | Iterable[Any] | None = None,
    keep_float: Sequence[str] = (),
    largest_error: float = LARGEST_ERROR,
) -> Path:
    """Writes ``model`` to ``path`` for ONNX Runtime, OpenVINO, ExecuTorch or torch itself.

    The model is copied, in eval mode and float32, and left as it was. BatchNorm is folded into the convolution
    before it where that is exact. The engine then runs the file on ``example`` and ``inputs``, and where sizes may
    vary on another size; only when every task agrees with the model to 1e-4 of its largest value does the file
    take its place. Outputs carry the names of the tasks in ONNX and OpenVINO; in the other two they come in
    the order of the metadata, which :func:`describe` reads. ``secateur.deployment.engines.load_engine`` runs any of them.

    Args:
        model: ``model(x) -> {task: prediction}``.
        example: What it takes, (N, C, ...), or ``{task: (N, C, ...)}`` when each task has its own input; any other
            mapping is one input of several tensors.
        path: The file; OpenVINO puts a ``.bin`` beside its ``.xml``.
        format: None reads it off the suffix: ``.onnx``, ``.xml``, ``.pte`` or ``.pt2``.
        tasks: Which to keep, in this order; heads that only the others need are left out. None keeps all.
        about: Plain values to keep in the file, such as ``mean``, ``std`` and ``classes`` of the data set.
        inputs: More inputs to check. ExecuTorch reserves memory for the largest of them and of ``example``, and
            takes other sizes only if they differ.
        dynamic: Let the batch and the height and width of the input vary where network and engine allow; False
            fixes them to those of ``example``. The metadata say what came of it: ``dynamic`` and, where
            something stayed fixed, such as a size that the model's code decides by, the reason in ``fixed``.
        weights: How ONNX stores weights with zeros, where that is smaller: ``sparse`` as gaps and values that the engine
            rebuilds when it loads the file, exactly; ``sparse_float16`` with the values rounded, which is not exact and
            checked to 1e-2 only; ``dense`` as they are. The other formats know dense weights alone.
        quantize: ``int8`` rounds weights and activations to bytes, of ``.onnx`` by ONNX Runtime's tool, of ``.xml`` by NNCF: 4 times
            smaller, not exact. Zeros stay zeros. By how much each task is off, the metadata say.
        calibrate: What ranges are measured on, needed to quantise: a problem, for its training batches, or inputs, 16 at most; one
            tensor is one batch.
        keep_float: What is not quantised: tasks, whose heads stay in float, and modules by their names in ``model``.
        largest_error: By how much a task may be off when quantised, of its largest value; beyond it there is no file.
        call: ``(model, x) -> {task: prediction}`` where ``model(x)`` is not, as in a :class:`secateur.Problem`.

    Returns:
        ``path``.

    Raises:
        ValueError: If the model is being pruned, a task is unknown, the model cannot be traced or
            converted, or the engine predicts something else. No file is left behind.
        EngineMissingError: If the engine is not installed; it says what to install. An ``ImportError``.
        OSError: If the file cannot be written.

    Warns:
        DeadTaskWarning: If a task predicts the same whatever the input; the file says it too, ``dead``.
        UserWarning: If the model changes its buffers in a forward pass, which no file carries on; their names are in ``restarts``.
            If OpenVINO, where it is installed, predicts something else from an ``.onnx``; ``otherwise`` says it, and it is not run there.
    """
    path = Path(path)
    kind = _format(path, format)
    if weights not in get_args(Weights):
        raise ValueError(f"export: weights is {weights!r}; give one of {', '.join(get_args(Weights))}.")
    if weights == "sparse_float16" and kind != "onnx":
        raise ValueError(
            f"export: weights is {weights!r}, which ONNX alone can hold, and the format is {kind!r}."
        )
    check_quantize(quantize, calibrate, kind, weights, keep_float, largest_error)
    with preserved_rng(), kept_logging(), silent("onnx_ir"):  # some tools draw, and set up logging
        require(kind)
        if quantize is not None:
            require_tool(kind)
        made = network(model, example, tasks, call)
        how = None if calibrate is None else calibration(made, calibrate, keep_float, largest_error)
        dead = unmoved(made.module, varied(made.named()), made.by_name)
        if dead:
            warnings.warn(f"export: {dead_said(dead)}", DeadTaskWarning, stacklevel=2)
        if made.changing:
            warnings.warn(f"export: {restarts_said(made.changing)}", stacklevel=2)
        metadata = plain(about or {}) | {"weights": weights if kind == "onnx" else "dense"}
        metadata |= {"dead": dead} if dead else {}
        given = [made.example, *(made.listed(x) for x in inputs)]
        fixed = lengths(dict(zip(made.inputs, made.example, strict=True))) if dynamic else {}
        with folder_aside(path) as folder, temporaries_in(folder / "temporary"):
            sizes = any(x.ndim > 2 for x in made.example)
            levels = [axes for axes in _LEVELS if sizes or "size" not in axes]
            for number, axes in enumerate(levels if dynamic else levels[-1:]):
                aside = folder / str(number) / path.name
                aside.parent.mkdir()
                try:
                    told = metadata | ({"fixed": fixed} if fixed else {})
                    _attempt(kind, made, given, axes, aside, told, how)
                except ValueError as why:
                    if not axes or isinstance(why, LossyError):
                        raise
                    fixed[" and ".join(sorted(axes))] = beside(_reason(why), aside)
                else:
                    _move(aside, path)
                    break
    return path


def require(format: Format) -> None:  # noqa: A002
    """Asks for the packages that write and run a format.

    Raises:
        EngineMissingError: If one is not installed; it says what to install.
    """
    _WRITERS[format].require()


def describe(path: Path | str) -> dict[str, Any]:
    """The metadata that :func:`export` put into a file: tasks, inputs, what may vary, and what ``about`` said.

    Raises:
        FileNotFoundError: If there is no such file.
        EngineMissingError: If the engine that reads it is not installed.
        ValueError: If ``export`` did not write it.
    """
    return dict(load_engine(path).about)


def _attempt(
    kind: Format,
    made: Network,
    given: list[tuple[Tensor, ...]],
    axes: Axes,
    aside: Path,
    metadata: dict[str, Any],
    how: Calibration | None,
) -> None:
    """One file with ``axes`` free, written and checked, and then quantised where it is said ``how``.

    Raises:
        ValueError: If it cannot be had so.
    """
    if not axes:
        check_sizes(given, metadata)
    traced = trace(made, axes, given if kind == "executorch" else None)
    said = facts(traced)
    largest: list[list[int]] | None = None
    if kind == "executorch":
        largest = [
            [max(size) for size in zip(*(x.shape for x in sizes), strict=True)]
            for sizes in zip(*given, strict=True)
        ]
        for name, most in zip(said["inputs"], largest, strict=True):
            said["inputs"][name]["largest"] = most
    text = json.dumps(metadata | said)
    stored = {"weights": metadata["weights"] if how is None else "dense"} if kind == "onnx" else {}
    with refusals(kind, aside):
        _WRITERS[kind].write(traced, aside, text, **stored)
    seal(aside)
    tolerance = ROUNDED if metadata["weights"] == "sparse_float16" else TOLERANCE
    with refusals(kind, aside):
        engine = load_engine(aside)
    for tensors in given:
        check(made, engine, tensors, tolerance)
    others = [] if kind == "executorch" else list(other_sizes(traced.trials))
    if axes:  # first, as it says why
        check_elsewhere(traced, engine, tolerance, largest)
    for tensors in others:
        check(made, engine, tensors, tolerance, traced.outside(tensors))
    if unlike := otherwise(made, aside, [*given, *others], tolerance):
        said["otherwise"] = unlike
        warnings.warn(f"export: {otherwise_said(aside.name, unlike)}", stacklevel=3)
        _WRITERS[kind].write(traced, aside, json.dumps(metadata | said), **stored)
        seal(aside)
    if how is not None:
        quantise(aside, made, how, [*given, *others], metadata | said)


def _format(path: Path, given: Format | None) -> Format:
    kind = given or _SUFFIXES.get(path.suffix)
    if kind not in _WRITERS:
        raise ValueError(
            f"export: format is {kind!r} and path {path.name!r}; let path end in {sorted(_SUFFIXES)}."
        )
    if _SUFFIXES.get(path.suffix) != kind:
        suffix = next(s for s, k in _SUFFIXES.items() if k == kind)
        raise ValueError(f"export: path is {path.name!r}; let it end in {suffix} for the format {kind!r}.")
    return kind


def _reason(error: ValueError) -> str:
    """Why an axis stayed fixed, without the paths of a traceback."""
    if error.__cause__ is None:
        return str(error).removeprefix("export: ")
    return f"{type(error.__cause__).__name__}: {first_line(error.__cause__)}"


def _move(aside: Path, path: Path) -> None:
    """Puts what was written beside ``aside`` in its place, ``path`` itself last."""
    for file in sorted(aside.parent.iterdir(), key=lambda file: file.name == path.name):
        put(file, path.with_name(file.name))
