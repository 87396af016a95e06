"""What a network costs, measured: nothing here is a prediction."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from torch import nn

from secateur.budget.limits import Budget, Kind
from secateur.deployment.bench import Measure, bench
from secateur.deployment.export import LossyError, Quantize, export, int8_suffix
from secateur.measures import DeadTaskWarning, count_macs
from secateur.problem import Call, Input, Problem, called
from secateur.storage import folder_aside

_ROUNDS, _PROCESSES = 6, 3
_STEADY = 0.1  # spread (10 to 90 % of the passes) over the median, above which it is measured again
_MORE = 4  # in so many times more processes
_CLEAN = 0.05  # share of the time without a core above which it is measured again
_TRIES = 5  # so often at most
_DIGITS = 24e-6  # megabytes of a number that says how exact a file in int8 is, at most
_SUFFIX = {
    "torch": ".pt2",
    "onnxruntime": ".onnx",
    "sparse": ".onnx",
    "openvino": ".xml",
    "executorch": ".pte",
}


@dataclass(frozen=True)
class File:
    """How the file is written whose megabytes count.

    Args:
        about: What is kept in it, as of :func:`secateur.export`.
        dynamic: Its size may vary.
        example: What it is made with; what costs are measured on if None.
    """

    about: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dynamic: bool = False
    example: Input | None = None


def measured(
    model: nn.Module,
    example: Input,
    budget: Budget,
    call: Call | None = None,
    *,
    quantize: Quantize | None = None,
    keep_float: Sequence[str] = (),
    file: File | None = None,
) -> dict[Kind, float]:
    """Every cost that ``budget`` limits; the model is left as it was.

    A time in which other programs took the core is measured again; of several the least disturbed stands, with a warning. One that
    varies is measured again in more processes: where weights lie in memory differs between them.

    Args:
        model: Whose.
        example: What it takes.
        budget: What is limited, and in which engine.
        call: How the model is called, as in a :class:`secateur.Problem`.
        quantize: Time and megabytes are those of the file in int8.
        keep_float: What of it stays in float.
        file: How the file is written; without metadata and of the example's size if None.

    Raises:
        ValueError: If it cannot be exported.
        EngineMissingError: If the engine is not installed; it says what to install.
    """
    found: dict[Kind, float] = {}
    if "params" in budget.kinds:
        found["params"] = float(sum(p.numel() for p in model.parameters()))
    if "macs" in budget.kinds:
        found["macs"] = float(sum(count_macs(called(model, call), example).values()))
    how: dict[str, Any] = {"quantize": quantize, "keep_float": keep_float}
    if "ms" in budget.kinds:
        found["ms"] = _timed(model, example, budget, call, **how)
    if "mb" in budget.kinds:
        found["mb"] = megabytes(model, example, budget, call, **how, file=file)
    return {kind: found[kind] for kind in budget.kinds}


def megabytes(
    model: nn.Module,
    example: Input,
    budget: Budget,
    call: Call | None = None,
    *,
    quantize: Quantize | None = None,
    keep_float: Sequence[str] = (),
    file: File | None = None,
    calibrate: Problem | None = None,
) -> float:
    """Of the file for the engine of ``budget``, all its parts.

    Args:
        model, example, budget, call, quantize, keep_float, file: As of :func:`measured`.
        calibrate: What a file in int8 is calibrated on; the example if None, or where the file does not take its inputs: that
            changes some digits in the file alone.

    Raises:
        As :func:`measured`.
    """
    file = file or File()
    on = example if file.example is None else file.example
    suffix = int8_suffix(budget.engine) if quantize else _SUFFIX[budget.engine]
    how: dict[str, Any] = {"about": file.about, "dynamic": file.dynamic, "call": call}
    if quantize:
        how |= {"quantize": quantize, "keep_float": keep_float, "largest_error": math.inf}  # floors judge it
    with folder_aside(Path(gettempdir()) / "secateur-budget") as folder:
        path = folder / f"model{suffix}"  # as it will be called: the name is part of a .pt2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeadTaskWarning)  # it is judged when it is trained
            if not quantize:
                export(model, on, path, **how)
            else:
                try:
                    export(model, on, path, calibrate=calibrate or [on], **how)
                except LossyError:  # of another size
                    export(model, on, path, calibrate=[on], **how)
        return sum(part.stat().st_size for part in folder.iterdir() if part.stem == path.stem) / 1e6


class Costing:
    """What the networks of one run cost.

    A file in int8 says how exact it is, which takes some digits more or less; and weights that round to zero take less room, which
    are others once it is trained. So a network that is not finished counts as by so much larger as was seen yet.

    Args:
        problem: Dense and trained; what a file in int8 is calibrated on.
        example, budget, quantize, file: As of :func:`measured`.
    """

    def __init__(
        self, problem: Problem, example: Input, budget: Budget, quantize: Quantize | None, file: File | None
    ) -> None:
        self._problem, self._known = problem, (example, budget, problem.call)
        self._file = file
        self._quantize: Quantize | None = quantize
        self._more = _DIGITS * (1 + len(problem.tasks)) if quantize else 0.0

    def dense(self) -> dict[Kind, float]:
        """Of the dense network in float."""
        return measured(self._problem.model, *self._known, file=self._file)

    def __call__(self, model: nn.Module, keep: Sequence[str]) -> dict[Kind, float]:
        """Of a network that is not finished, with the heads of ``keep`` in float."""
        found = measured(model, *self._known, quantize=self._quantize, keep_float=keep, file=self._file)
        return {kind: cost + (self._more if kind == "mb" else 0.0) for kind, cost in found.items()}

    def finished(
        self, model: nn.Module, keep: Sequence[str], costs: Mapping[Kind, float]
    ) -> dict[Kind, float]:
        """``costs`` of a network that is finished now, with the megabytes of its file."""
        if "mb" not in costs:
            return dict(costs)
        held = megabytes(
            model,
            *self._known,
            quantize=self._quantize,
            keep_float=keep,
            file=self._file,
            calibrate=self._problem if self._quantize else None,
        )
        self._more += max(0.0, held - costs["mb"])
        return {**costs, "mb": held}


def _timed(
    model: nn.Module,
    example: Input,
    budget: Budget,
    call: Call | None,
    quantize: Quantize | None,
    keep_float: Sequence[str],
) -> float:
    """Milliseconds of a forward pass."""
    taken: list[Measure] = []
    times = 1
    for _ in range(_TRIES):
        made = bench(
            {"network": model},
            example,
            [budget.engine],
            threads=budget.threads,
            repeats=times * _ROUNDS,
            processes=times * _PROCESSES,
            call=call,
            quantize=quantize,
            keep_float=keep_float,
        )
        taken.append(made.measures[budget.engine]["network"])
        if (taken[-1].disturbed or 0.0) <= _CLEAN:
            if times > 1 or taken[-1].p90 - taken[-1].p10 <= _STEADY * taken[-1].p50:
                break
            times = _MORE
    clean = [measure for measure in taken if (measure.disturbed or 0.0) <= _CLEAN]
    best = clean[-1] if clean else min(taken, key=lambda measure: measure.disturbed or 0.0)
    if not clean:
        warnings.warn(
            f"prune: other programs took the core {best.disturbed:.0%} of the time in which the network was measured, {_TRIES} times "
            "over; it may be faster than measured. Close them, or give fewer threads.",
            stacklevel=2,
        )
    return best.p50
