"""What int8 costs each task, judged by the file itself, and which heads stay in float for that."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir

from secateur.deployment.export import LARGEST_ERROR, describe, export, int8_suffix
from secateur.measures import DeadTaskWarning, evaluate
from secateur.problem import Input, Problem
from secateur.runs import Exported
from secateur.storage import folder_aside
from secateur.training import shares_lost


@dataclass(frozen=True)
class Judged:
    """A network in int8.

    Args:
        keep: Tasks whose heads are in float.
        lost: Task to the share that the file loses on the validation split; empty without a reference.
        errors: Task to the largest error, of its largest value.
        broken: Tasks that lose too much although their heads are in float: by their floor, or where there is none by an error
            of more than a quarter.
    """

    keep: tuple[str, ...]
    lost: dict[str, float]
    errors: dict[str, float]
    broken: tuple[str, ...]


def judged(
    problem: Problem,
    example: Input,
    floors: Mapping[str, float],
    reference: Mapping[str, Mapping[str, float]] | None,
    keep: Sequence[str] = (),
    *,
    engine: str = "onnxruntime",
) -> Judged:
    """Quantises, calibrated on training batches, and judges the file as it runs; a head that breaks its floor goes back to float.

    Args:
        problem: Its model is left as it was.
        example: What the file is made with.
        floors: Task to the share that it may lose.
        reference: Metrics of the dense network on the validation split.
        keep: Tasks whose heads are in float from the beginning.
        engine: Which the file is for; but for OpenVINO's own, all are run in ONNX Runtime.

    Raises:
        ValueError: If it cannot be exported.
    """
    kept = list(keep)
    while True:
        lost, errors = _lost_and_errors(problem, example, reference, kept, int8_suffix(engine))
        broken = tuple(task for task in errors if _breaks(task, floors, lost, errors))
        more = [task for task in broken if task not in kept]
        if not more:
            return Judged(tuple(kept), lost, errors, broken)
        kept += more


def check_int8(problem: Problem, floors: Mapping[str, float]) -> None:
    """Raises ValueError if a task with a floor is judged by what no file can do."""
    for task in floors:
        if problem.tasks[task].decode is not None:
            raise ValueError(
                f"prune: with quantize the file is judged, and what the metrics of {task!r} look at is for the network itself (decode); "
                "leave its floor out, or quantize."
            )


def _lost_and_errors(
    problem: Problem,
    example: Input,
    reference: Mapping[str, Mapping[str, float]] | None,
    keep: Sequence[str],
    suffix: str,
) -> tuple[dict[str, float], dict[str, float]]:
    with folder_aside(Path(gettempdir()) / "secateur-int8") as folder:
        path = export(
            problem.model,
            example,
            folder / f"net{suffix}",
            call=problem.call,
            quantize="int8",
            calibrate=problem,
            keep_float=keep,
            largest_error=math.inf,
        )
        errors: dict[str, float] = describe(path)["quantized"]["errors"]
        tasks = {name: task for name, task in problem.tasks.items() if task.metrics and task.decode is None}
        if reference is None or not tasks:  # nothing that a file can be scored by
            return {}, errors
        file = replace(problem, model=Exported(path), tasks=tasks, call=None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeadTaskWarning)  # it is a loss as any other
            return shares_lost(evaluate(file, "val"), reference, file), errors


def _breaks(
    task: str, floors: Mapping[str, float], lost: Mapping[str, float], errors: Mapping[str, float]
) -> bool:
    if task in floors:
        return not lost.get(task, math.nan) <= floors[task]
    return errors[task] > LARGEST_ERROR
