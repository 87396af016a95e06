"""What a model lost against a dense one, over metrics that have different units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Results = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class DeltaT:
    """Relative difference to a dense model in percent; positive is better.

    Args:
        overall: Mean over the tasks.
        tasks: Task to its own figure.
    """

    overall: float
    tasks: dict[str, float]


def delta_t(
    results: Results,
    dense: Results,
    higher_is_better: Mapping[str, Mapping[str, bool]],
    reduce: Literal["mean", "sum"] = "mean",
) -> DeltaT:
    """ΔT of AdapMTL (Eq. 7): each metric's relative gain over the dense model, over metrics, then tasks.

    A gain is ``±(M - M_dense) / |M_dense|``, plus where higher is better; in percent. A nan stays a nan. Tasks
    without metrics have no ΔT and are left out.

    Args:
        results: Task to metric to value.
        dense: The same of the dense model.
        higher_is_better: Task to metric to direction.
        reduce: Over the metrics of a task. ``"mean"`` is Eq. 7. ``"sum"`` is what the tables of AdapMTL print: their
            figures lack the factor 1/|M|.

    Raises:
        ValueError: If the three do not name the same tasks and metrics, a dense value is 0, no task has a metric,
            or ``reduce`` is unknown.
    """
    if reduce not in ("mean", "sum"):
        raise ValueError(f"reduce is {reduce!r}; choose 'mean' or 'sum'.")
    _check_names(results, dense, "dense")
    _check_names(results, higher_is_better, "higher_is_better")
    tasks: dict[str, float] = {}
    for task, metrics in results.items():
        gains = [_gain(task, name, value, dense[task][name]) for name, value in metrics.items()]
        signed = [g if higher_is_better[task][name] else -g for g, name in zip(gains, metrics, strict=True)]
        if signed:
            tasks[task] = sum(signed) / (len(signed) if reduce == "mean" else 1)
    if not tasks:
        raise ValueError(
            f"results has no metric in any of the tasks {sorted(results)}; there is nothing to compare."
        )
    return DeltaT(sum(tasks.values()) / len(tasks), tasks)


def _gain(task: str, metric: str, value: float, dense: float) -> float:
    if dense == 0:
        raise ValueError(
            f"dense[{task!r}][{metric!r}] is 0, so a relative difference to it is undefined; leave the metric out."
        )
    return 100.0 * (value - dense) / abs(dense)


def _check_names(results: Results, other: Mapping[str, Mapping[str, object]], argument: str) -> None:
    mine = {(task, metric) for task, metrics in results.items() for metric in metrics}
    theirs = {(task, metric) for task, metrics in other.items() for metric in metrics}
    if set(results) != set(other) or mine != theirs:
        raise ValueError(
            f"results and {argument} differ: only in results {_difference(results, other, mine - theirs)}, only in "
            f"{argument} {_difference(other, results, theirs - mine)}; give both the same tasks and metrics."
        )


def _difference(
    mine: Mapping[str, object], other: Mapping[str, object], metrics: set[tuple[str, str]]
) -> list[str]:
    """Names as "task" and "task/metric"."""
    return sorted({*set(mine) - set(other), *(f"{task}/{metric}" for task, metric in metrics)})
