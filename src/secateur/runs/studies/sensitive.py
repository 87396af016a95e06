"""The study ``sensitivity``: how each task suffers as each part of a finished run is pruned (AdapMTL, Figs. 5 and 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from secateur.measures import sensitivity
from secateur.runs.folder import RunFolder
from secateur.runs.hardware import torch_device
from secateur.runs.kept import load_weights
from secateur.runs.names import Trust
from secateur.runs.problems import read_problem
from secateur.runs.report import percent, points
from secateur.runs.studies.drawing import lines
from secateur.runs.studies.looked import Look


def sensitivity_of(
    run: Path,
    by: Literal["component", "layer"],
    densities: Sequence[float],
    limit: int | None,
    trust: Trust | None,
    device: str,
    on_done: Callable[[str], object] | None,
) -> Look:
    """ΔT of each task on the validation split, as each component or layer alone keeps its largest weights."""
    folder, place = RunFolder(run), torch_device(device)
    problem, _ = read_problem(folder, trust)
    load_weights(problem.model, folder.weights)
    problem.model.to(place)

    def done(part: str, density: float) -> None:
        if on_done:
            on_done(f"{part} at {percent(density)}")

    found = sensitivity(
        problem, "owner" if by == "component" else "layer", densities, limit=limit, on_done=done
    )
    tasks = list(problem.tasks)
    rows = [
        (part, percent(1 - density), *(points(losses[task]) for task in tasks))
        for part, levels in found.items()
        for density, losses in levels.items()
    ]
    parts = list(found)
    series = {
        task if len(densities) == 1 else f"{task}, {percent(1 - density)}": [
            (float(x), found[part][density][task]) for x, part in enumerate(parts)
        ]
        for density in densities
        for task in tasks
    }
    title = f"ΔT of each task, validation split, as each {by} alone is pruned by magnitude"
    drawn = lines(series, "sensitivity", title, x="", y="ΔT against the network as it is, %", ticks=parts)
    note = (
        f"ΔT on the validation split against the network as it is, as each {by} alone keeps its largest weights; the rest is left alone, "
        "nothing is trained after and BatchNorm's statistics stay. Sparsity is of the weights that are not zero already."
    )
    figures = {"by": by, "split": "val", "limit": limit, "delta_t": found}
    return Look(
        (by, "pruned", *tasks), tuple(rows), (note, *worst(found, tasks)), figures, {"sensitivity": drawn}
    )


def worst(found: Mapping[str, Mapping[float, Mapping[str, float]]], tasks: Sequence[str]) -> list[str]:
    """Which part each task depends on most, at the lowest density; which tasks lose the same by all, such as dead ones."""
    said, level = list[str](), list[str]()
    for task in tasks:
        known = {part: levels[min(levels)][task] for part, levels in found.items()}
        known = {part: value for part, value in known.items() if value == value}
        if len(known) > 1 and min(known.values()) == max(known.values()):
            level.append(task)
        elif known:
            part = min(known, key=lambda name: known[name])
            said.append(f"{task} on {part} ({points(known[part])})")
    notes = [f"Each task depends most on: {'; '.join(said)}."] if said else []
    return notes + ([f"No part tells itself from the others for: {', '.join(level)}."] if level else [])
