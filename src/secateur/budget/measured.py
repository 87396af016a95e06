"""What a network costs, measured: nothing here is a prediction."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

from torch import nn

from secateur.budget.limits import Budget, Kind
from secateur.deployment.bench import Measure, bench
from secateur.deployment.export import LARGEST_ERROR, Quantize, export, int8_suffix
from secateur.measures import DeadTaskWarning, count_macs
from secateur.problem import Call, Input, called
from secateur.storage import folder_aside

_ROUNDS, _PROCESSES = 6, 3
_STEADY, _MORE = (
    0.1,
    4,
)  # spread (10 to 90 % of the passes) over the median above which it is measured again, in so many times more processes
_CLEAN = 0.05  # share of the time without a core above which it is measured again
_TRIES = 5  # so often at most
_SUFFIX = {
    "torch": ".pt2",
    "onnxruntime": ".onnx",
    "sparse": ".onnx",
    "openvino": ".xml",
    "executorch": ".pte",
}


def measured(
    model: nn.Module,
    example: Input,
    budget: Budget,
    call: Call | None = None,
    *,
    quantize: Quantize | None = None,
    keep_float: Sequence[str] = (),
) -> dict[Kind, float]:
    """Every cost that ``budget`` limits; the model is left as it was.

    A time in which other programs took the core is measured again; of several the least disturbed stands, with a warning. One that
    varies is measured again in more processes: where weights lie in memory, which differs between them, makes a tenth of a network whose
    weights the caches do not hold.

    Args:
        model: Whose.
        example: What it takes.
        budget: What is limited, and in which engine.
        call: How the model is called, as in a :class:`secateur.Problem`.
        quantize: Time and megabytes are those of the file in int8.
        keep_float: What of it stays in float.

    Raises:
        ValueError: If it cannot be exported.
        EngineMissingError: If the engine is not installed; it says what to install.
    """
    found: dict[Kind, float] = {}
    if "params" in budget.kinds:
        found["params"] = float(sum(p.numel() for p in model.parameters()))
    if "macs" in budget.kinds:
        found["macs"] = float(sum(count_macs(called(model, call), example).values()))
    if "ms" in budget.kinds:
        found["ms"], found["mb"] = _timed(model, example, budget, call, quantize, keep_float)
    elif "mb" in budget.kinds:
        with folder_aside(Path(gettempdir()) / "secateur-budget") as folder:
            suffix = int8_suffix(budget.engine) if quantize else _SUFFIX[budget.engine]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeadTaskWarning)  # it is judged when it is trained
                path = export(
                    model,
                    example,
                    folder / f"net{suffix}",
                    dynamic=False,
                    call=call,
                    largest_error=math.inf if quantize else LARGEST_ERROR,  # floors judge it
                    quantize=quantize,
                    calibrate=[example] if quantize else None,
                    keep_float=keep_float if quantize else (),
                )
            found["mb"] = (
                sum(file.stat().st_size for file in folder.iterdir() if file.stem == path.stem) / 1e6
            )
    return {kind: found[kind] for kind in budget.kinds}


def _timed(
    model: nn.Module,
    example: Input,
    budget: Budget,
    call: Call | None,
    quantize: Quantize | None,
    keep_float: Sequence[str],
) -> tuple[float, float]:
    """Milliseconds and megabytes of the file."""
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
    return best.p50, best.file / 1e6
