"""A study from its name to its folder: the grid is checked, trained where it is not, and shown as the paper has it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from secateur.deployment.bench import EngineName, require_engine
from secateur.measures import stat
from secateur.runs.arguments import trusted
from secateur.runs.deploy import bench_runs, compact_run
from secateur.runs.folder import RunFolder
from secateur.runs.names import Trust
from secateur.runs.report import Drawing
from secateur.runs.studies.drawing import dots, lines
from secateur.runs.studies.plan import planned
from secateur.runs.studies.shown import Shown, shown
from secateur.runs.studies.study import Study
from secateur.runs.studies.writing import latex, markdown, plain, to_dict
from secateur.runs.study import Cell, Results, Where, conduct, over_sparsity, write_drawings
from secateur.storage import write_text

Times = Mapping[str, Mapping[str, float]]  # engine -> folder of a run -> milliseconds


def perform(
    study: Study,
    options: Sequence[str],
    *,
    out: Path,
    seeds: int | Sequence[int] = 1,
    columns: Sequence[str] = (),
    densities: Sequence[float] = (),
    jobs: int | None = None,
    workers: int = 0,
    where: Where | None = None,
    engines: Sequence[EngineName] = (),
    command: str = "",
    on_done: Callable[[Cell, int, int, str | None], object] | None = None,
) -> Shown:
    """Trains what is missing of a study; the same call goes on where it was stopped, and seeds and densities may join.

    ``out`` holds a run folder for each run, the tables of a comparison with every figure, and ``study.txt``, ``.md``, ``.tex``, ``.json``,
    ``.svg`` and ``.pdf`` as of what is finished.

    Args:
        study: Which.
        options: Of ``secateur train``, for all runs; they go before the study's own.
        out: Folder.
        seeds: How many, from 0; or which.
        columns: Of the tables, in order; the study's own if empty.
        densities: Kept fractions instead of the study's.
        jobs: Runs at a time: one on each GPU if None, one on a CPU.
        workers: Processes that load data, a run.
        where: On this machine if None; on a Ray cluster the runs that are missing are its tasks.
        engines: Where to time the networks of the first seed, compacted.
        command: For the record.
        on_done: Called with the run, how many are done, how many there are, and its error or None.

    Raises:
        ValueError: If the data lack a task, the runs cannot be made, or ``out`` holds a study with other options; before anything trains.
        ImportError: If an engine is not installed; before anything trains.
        RuntimeError: If a run failed; the others are finished and in the table.
    """
    for engine in engines:
        require_engine(engine)
    cells = planned(study, options, out, seeds=seeds, densities=densities)

    def write(results: Results) -> None:
        if results.arms:
            _write(shown(study, results, cells, columns=columns), results, out, command)

    results = conduct(
        cells,
        out,
        columns=columns,
        jobs=jobs,
        workers=workers,
        where=where,
        command=command,
        on_done=on_done,
        on_results=write,
    )
    times = _timed(cells, out, engines, trusted(options)) if engines else {}
    found = shown(study, results, cells, times, columns)
    _write(found, results, out, command)
    return found


def _write(found: Shown, results: Results, out: Path, command: str) -> None:
    write_text(out / "study.txt", plain(found))
    write_text(out / "study.md", markdown(found))
    write_text(out / "study.json", json.dumps(to_dict(found, command), indent=1, ensure_ascii=False) + "\n")
    write_text(out / "study.tex", latex(found))
    pictures = {"study": _picture(found, results)}
    pictures |= {f"time_{engine}": _over_time(found, engine) for engine in found.times}
    write_drawings(pictures, out)


def _picture(found: Shown, results: Results) -> Drawing | None:
    if found.study.picture == "curve" and (drawn := over_sparsity(results, "study")):
        return drawn
    delta = [c for c in found.columns if c.group == "ΔT" and c.name not in ("sum", "to single-task")]
    rows = {
        row.name: {c.name: stat(row.arm.values[c].values()).mean for c in delta if row.arm.values.get(c)}
        for row in found.rows
        if row.cells.get("ΔT mean") != "reference"
    }
    return dots(rows, "study", f"{found.study.source}: ΔT of each task, and their mean")


def _over_time(found: Shown, engine: str) -> Drawing | None:
    """ΔT over what a pass takes, a line for each recipe."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in found.rows:
        mean = next((c for c in found.columns if (c.group, c.name) == ("ΔT", "mean")), None)
        ms, values = found.times[engine].get(row.name), row.arm.values.get(mean) if mean else None
        if ms is not None and values and math.isfinite(stat(values.values()).mean):
            series.setdefault(row.arm.recipe, []).append((ms, stat(values.values()).mean))
    title = f"ΔT against dense over the milliseconds of a pass in {engine}, one thread"
    ordered = {name: sorted(line) for name, line in series.items()}
    return lines(ordered, f"time-{engine}", title, x=f"milliseconds, {engine}", y="ΔT against dense, %")


def _timed(cells: Sequence[Cell], out: Path, engines: Sequence[EngineName], trust: Trust) -> Times:
    """Milliseconds of a pass of the first seed's networks, side by side; what was timed with the same engines is kept."""
    asked = [
        cell
        for cell in cells
        if cell.seed == cells[0].seed and len(cell.tasks) == max(len(c.tasks) for c in cells)
    ]
    path, names = out / "times.json", [cell.name for cell in asked]
    held = _held(path)
    if sorted(held) == sorted(engines) and all(set(names) <= set(held[engine]) for engine in engines):
        return {engine: held[engine] for engine in engines}
    folders = [out / name for name in names]
    for cell, folder in zip(asked, folders, strict=True):
        if not cell.dense and not RunFolder(folder).compact.exists():
            compact_run(folder, trust=trust)
    dense = next(folder for cell, folder in zip(asked, folders, strict=True) if cell.dense)
    bench = bench_runs(folders, engines, against=dense, trust=trust)
    found = {
        engine: {name: bench.measures[engine][name].p50 for name in names if name in bench.measures[engine]}
        for engine in engines
    }
    write_text(path, json.dumps(found, indent=1) + "\n")
    return found


def _held(path: Path) -> Times:
    """The times that were kept; none where the file is not there or not as it was written."""
    try:
        held: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    times: Any = list(held.values()) if isinstance(held, dict) else [None]
    whole = all(isinstance(t, dict) and all(type(ms) in (int, float) for ms in t.values()) for t in times)
    return held if whole else {}
