"""The whole comparison: train what is missing, collect, write the table in every form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from secateur.runs.folder import RunFolder
from secateur.runs.study.cells import Cell, grid
from secateur.runs.study.places import Where
from secateur.runs.study.ray import ray_place
from secateur.runs.study.results import Results, collect
from secateur.runs.study.running import check_folders, run
from secateur.runs.study.sweeps import Over
from secateur.runs.study.tables.asked import check_columns, with_columns
from secateur.runs.study.tables.writing import write_tables

OnDone = Callable[[Cell, int, int, str | None], object]


def compare(
    recipes: Sequence[str],
    options: Sequence[str] = (),
    *,
    out: Path,
    densities: Sequence[float] = (),
    seeds: int | Sequence[int] = 1,
    over: Over = (),
    columns: Sequence[str] = (),
    combinations: bool = False,
    single: bool = False,
    equal_steps: bool = False,
    jobs: int | None = None,
    workers: int = 0,
    where: Where | None = None,
    command: str = "",
    on_done: OnDone | None = None,
) -> Results:
    """Trains every recipe at every density and seed in a run folder of its own under ``out``, and compares them.

    Finished runs are not trained again, stopped ones go on, and recipes, densities or seeds may be added later. After
    every run ``out`` holds the table so far: ``results.json`` with every figure of every seed, ``table.txt``, ``.md``,
    ``.csv``, ``.tex`` and ``.html``, ``table_long.tex``, and what is drawn of it as ``.svg`` and ``.pdf``.

    Args:
        recipes: Packaged names or paths; a dense reference is added where there is none.
        options: Of ``secateur train``, for all of them.
        out: Folder of the comparison.
        densities: Kept fractions; empty leaves each recipe its own.
        seeds: How many, from 0; or which.
        over: Options that each run has several values of: ``["lr=1e-3,3e-3"]`` or ``{"lr": [1e-3, 3e-3]}``; several multiply.
        columns: Of the tables, such as ``["delta_t", "seg.miou", "depth", "density"]``, in that order; all if empty.
        combinations: Every non-empty subset of the tasks instead of all tasks together.
        single: A dense network for each task alone as well, to compare with.
        equal_steps: Methods with several rounds share the steps out among them instead of taking all of them in each.
        jobs: Runs at a time: one on each GPU if None, one on a CPU.
        workers: Processes that load data, a run.
        where: On this machine if None; on a Ray cluster the runs that are missing are its tasks.
        command: For the record.
        on_done: Called with the run, how many are done, how many there are, and its error or None.

    Raises:
        ValueError: If the runs cannot be made or would not be comparable, or no machine of the cluster has room for one; before
            anything trains.
        ConnectionError: If there is no cluster.
        RuntimeError: If a run failed; the others are finished and in the table.
    """
    if not recipes:
        raise ValueError("compare: no recipe; name at least one, such as adapmtl.")
    cells = grid(
        recipes,
        options,
        densities=densities,
        seeds=seeds,
        over=over,
        combinations=combinations,
        single=single,
        equal_steps=equal_steps,
    )
    results = conduct(
        cells,
        out,
        columns=columns,
        jobs=jobs,
        workers=workers,
        where=where,
        command=command,
        on_done=on_done,
    )
    return with_columns(results, columns)


def conduct(
    cells: Sequence[Cell],
    out: Path,
    *,
    columns: Sequence[str] = (),
    jobs: int | None = None,
    workers: int = 0,
    where: Where | None = None,
    command: str = "",
    on_done: OnDone | None = None,
    on_results: Callable[[Results], object] | None = None,
) -> Results:
    """Trains what is missing of a grid, and keeps the table in ``out`` as of what is finished.

    Args:
        cells: Of :func:`secateur.runs.study.grid`.
        out: Folder of the comparison.
        columns: Of the tables, in order; all if empty.
        jobs: Runs at a time: one on each GPU if None, one on a CPU.
        workers: Processes that load data, a run.
        where: On this machine if None; on a Ray cluster the runs that are missing are its tasks.
        command: For the record.
        on_done: Called with the run, how many are done, how many there are, and its error or None.
        on_results: Called with what is finished, whenever a run is and at the end.

    Raises:
        ValueError: If a folder holds a run of another configuration, there is no such column, or no machine of the cluster has room
            for a run; before anything trains.
        ConnectionError: If there is no cluster.
        RuntimeError: If a run failed; the others are finished and in the table.
    """
    done = 0

    def write() -> Results:
        results = collect(cells, out)
        write_tables(results, with_columns(results, columns), cells, out, command)
        if on_results:
            on_results(results)
        return results

    def finished(cell: Cell, error: str | None) -> None:
        nonlocal done
        done += 1
        if error is None:
            write()
        if on_done:
            on_done(cell, done, len(cells), error)

    check_folders(cells, out)
    check_columns(columns, cells, out)
    left = [cell for cell in cells if not RunFolder(out / cell.name).finished]
    on_ray = where is not None and where.on == "ray" and left
    opened = (
        ray_place([cell.arguments for cell in left], out, where, count=jobs or len(left), workers=workers)
        if where and on_ray
        else nullcontext()
    )
    with opened as place:
        failed = run(cells, out, jobs=jobs, workers=workers, place=place, on_done=finished)
    results = write()
    if failed:
        said = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise RuntimeError(
            f"{len(failed)} of {len(cells)} runs failed ({said}); what they said is in {out / 'logs'}. The others are "
            "finished; the same command tries the failed ones again."
        )
    return results
