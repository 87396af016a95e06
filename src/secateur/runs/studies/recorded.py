"""The studies ``allocation`` and ``weights``: what finished runs have written down of their densities and loss weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secateur.runs.report import RunRecord, listing, percent
from secateur.runs.studies.drawing import lines
from secateur.runs.studies.looked import Look


def allocation_of(records: Sequence[RunRecord], titles: Sequence[str]) -> Look:
    """Density of each component and layer, a column for each run."""
    components = list(dict.fromkeys(c for r in records for c in r.density.components))
    layers = list(dict.fromkeys(name for r in records for name in r.density.layers))
    rows = [
        (
            part,
            *(percent(r.density.components[part]) if part in r.density.components else "" for r in records),
        )
        for part in components
    ]
    rows.append(("overall", *(percent(r.density.overall) for r in records)))
    rows += [
        (name, *(percent(r.density.layers[name]) if name in r.density.layers else "" for r in records))
        for name in layers
    ]
    series = {
        title: [
            (float(place), r.density.layers[n]) for place, n in enumerate(layers) if n in r.density.layers
        ]
        for title, r in zip(titles, records, strict=True)
    }
    drawn = lines(
        series, "allocation", "Density of each layer", x="", y="kept share of the weights of a layer", ticks=layers, logarithmic=True
    )  # fmt: skip
    figures = {
        title: {"overall": r.density.overall, "components": r.density.components, "layers": r.density.layers}
        for title, r in zip(titles, records, strict=True)
    }
    note = "Kept share of the prunable weights: of components, overall, and of layers from the input to the heads."
    return Look(("", *titles), tuple(rows), (note,), figures, {"allocation": drawn})


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
