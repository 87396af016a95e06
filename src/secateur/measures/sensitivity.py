"""How much each task loses as one part of a network is pruned and the rest is left alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from secateur.measures.delta import delta_t
from secateur.measures.evaluate import Split, evaluate, higher_is_better
from secateur.measures.unmoved import DeadTaskWarning
from secateur.problem import By, Problem, components
from secateur.pruning import check_density, top_masks

Losses = dict[str, dict[float, dict[str, float]]]


def sensitivity(
    problem: Problem,
    by: By = "owner",
    densities: Sequence[float] = (0.5, 0.2, 0.1),
    *,
    split: Split = "val",
    limit: int | None = None,
    on_done: Callable[[str, float], object] | None = None,
) -> Losses:
    """ΔT of each task, in percent of the network as it is, as each component alone keeps its largest weights.

    Weights go by magnitude and at once; nothing is trained after, and BatchNorm's statistics stay. The model is left as it was.

    Args:
        problem: Its model, trained, on the device where it is to run.
        by: What is pruned at a time, as of :func:`secateur.components`.
        densities: Kept shares of the weights of a component that are not zero already.
        split: Which data; the test split is for final figures.
        limit: Batches at most; None for all.
        on_done: Called with each component and density that is done.

    Returns:
        Component to density to task to ΔT, over the metrics that are not zero or NaN as the network is; NaN where none is left.

    Raises:
        ValueError: If a density is out of range, or the split is not there.
    """
    for density in densities:
        check_density(density)
    better = higher_is_better(problem.tasks)
    whole = evaluate(problem, split, limit=limit)
    found: Losses = {}
    for name, parameters in components(problem, by).items():
        own = {p: problem.model.get_parameter(p) for p in parameters}
        before = {p: weight.detach().clone() for p, weight in own.items()}
        for density in densities:
            try:
                _keep_largest(own, before, density)
                with warnings.catch_warnings():
                    warnings.simplefilter(
                        "ignore", DeadTaskWarning
                    )  # that a part kills a task is what is measured
                    pruned = evaluate(problem, split, limit=limit)
            finally:
                with torch.no_grad():
                    for p, weight in own.items():
                        weight.copy_(before[p])
            found.setdefault(name, {})[density] = {
                task: _delta(task, metrics, whole[task], better[task]) for task, metrics in pruned.items()
            }
            if on_done:
                on_done(name, density)
    return found


@torch.no_grad()
def _keep_largest(own: Mapping[str, nn.Parameter], before: Mapping[str, Tensor], density: float) -> None:
    alive = sum(int(weight.count_nonzero()) for weight in before.values())
    if not alive:
        return
    masks = top_masks([weight.abs() for weight in before.values()], max(1, round(density * alive)))
    for (name, weight), mask in zip(own.items(), masks, strict=True):
        weight.copy_(before[name] * mask)


def _delta(
    task: str, pruned: Mapping[str, float], whole: Mapping[str, float], better: Mapping[str, bool]
) -> float:
    known = [name for name, value in whole.items() if value and math.isfinite(value)]
    if not known:
        return math.nan
    now, then = ({task: {name: values[name] for name in known}} for values in (pruned, whole))
    return delta_t(now, then, {task: {name: better[name] for name in known}}).overall
