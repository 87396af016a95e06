"""The studies ``allocation`` and ``weights``: what finished runs have written down of their densities and loss weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from secateur.problem import components as components_of
from secateur.problem import prunable
from secateur.runs.folder import RunFolder
from secateur.runs.kept import load_weights
from secateur.runs.names import Trust
from secateur.runs.problems import read_problem
from secateur.runs.report import RunRecord, listing, percent
from secateur.runs.report.record import Density
from secateur.runs.studies.drawing import lines
from secateur.runs.studies.looked import Look


def allocation_of(records: Sequence[RunRecord], titles: Sequence[str], trust: Trust | None = None) -> Look:
    """Density of each component and layer, a column for each run; of a run of ``secateur prune`` of the network that it cut."""
    found = [r.density if r.before is None else _of_the_whole(r, trust) for r in records]
    components = list(dict.fromkeys(c for d in found for c in d.components))
    layers = list(dict.fromkeys(name for d in found for name in d.layers))
    rows = [
        (part, *(percent(d.components[part]) if part in d.components else "" for d in found))
        for part in components
    ]
    rows.append(("overall", *(percent(d.overall) for d in found)))
    rows += [(name, *(percent(d.layers[name]) if name in d.layers else "" for d in found)) for name in layers]
    series = {
        title: [(float(place), d.layers[n]) for place, n in enumerate(layers) if n in d.layers]
        for title, d in zip(titles, found, strict=True)
    }
    drawn = lines(
        series, "allocation", "Density of each layer", x="", y="kept share of the weights of a layer", ticks=layers, logarithmic=True
    )  # fmt: skip
    figures = {
        title: {"overall": d.overall, "components": d.components, "layers": d.layers}
        for title, d in zip(titles, found, strict=True)
    }
    note = "Kept share of the prunable weights, of a network that was pruned to a budget of those of the network that training began with: of components, overall, and of layers from the input to the heads."
    return Look(("", *titles), tuple(rows), (note,), figures, {"allocation": drawn})


def _of_the_whole(record: RunRecord, trust: Trust | None) -> Density:
    """What is left of the weights of the network that a run of ``secateur prune`` was cut out of."""
    folder = RunFolder(record.folder)
    problem, _ = read_problem(folder, trust)
    named = components_of(problem)
    before = {name: weight.numel() for name, weight in prunable(problem.model).items()}
    load_weights(problem.model, folder.weights)
    left = {name: int(weight.count_nonzero()) for name, weight in prunable(problem.model).items()}

    def share(names: Iterable[str]) -> float:
        own = [name for name in names if name in before]
        return sum(left.get(name, 0) for name in own) / max(1, sum(before[name] for name in own))

    return Density(
        share(before),
        {part: share(names) for part, names in named.items()},
        {name: share([name]) for name in before},
    )


def weights_of(records: Sequence[RunRecord], titles: Sequence[str]) -> Look:
    """What each task's loss was multiplied with, over the steps.

    Raises:
        ValueError: If no run has logged any.
    """
    rows: list[tuple[str, ...]] = []
    series: dict[str, list[tuple[float, float]]] = {}
    figures: dict[str, Any] = {}
    for title, record in zip(titles, records, strict=True):
        tasks = list(dict.fromkeys(task for row in record.train for task in row.weight))
        figures[title] = {
            task: [[row.step, row.weight[task]] for row in record.train if task in row.weight]
            for task in tasks
        }
        for task in tasks:
            line = [(float(step), float(value)) for step, value in figures[title][task]]
            series[task if len(records) == 1 else f"{task}, {title}"] = line
            values = [value for _, value in line]
            rows.append(
                (title, task, *(f"{v:.3g}" for v in (values[0], min(values), max(values), values[-1])))
            )
    if not series:
        raise ValueError(
            f"study weights: {listing(str(r.folder) for r in records)} logged no loss weights; train for more steps."
        )
    drawn = lines(
        series,
        "weights",
        "Weight of each task's loss over the steps",
        x="step",
        y="weight of the loss",
        marker=False,
    )
    note = "What each task's loss was multiplied with, as logged while training."
    return Look(
        ("run", "task", "first", "lowest", "highest", "last"),
        tuple(rows),
        (note,),
        figures,
        {"weights": drawn},
    )
