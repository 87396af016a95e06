"""Runs cells, each in a process of its own, side by side where there are devices; finished ones are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock

import torch

from secateur.problem import check_count
from secateur.runs.beside import judges
from secateur.runs.folder import RunFolder
from secateur.runs.study.cells import Cell
from secateur.runs.study.places import Place

_BOUND = Path(__file__).parents[1] / "processes" / "bound.py"
OnDone = Callable[[Cell, str | None], object]


def run(
    cells: Sequence[Cell],
    out: Path,
    *,
    jobs: int | None = None,
    workers: int = 0,
    place: Place | None = None,
    on_done: OnDone | None = None,
) -> dict[str, str]:
    """Trains what is not finished yet, each cell in its folder under ``out``.

    A cell that fails does not stop the others; the same call goes on with what is missing.

    Args:
        cells: Of :func:`secateur.runs.study.grid`.
        out: Folder of the comparison.
        jobs: Cells at a time: on GPUs one each if None, on a CPU one.
        workers: Processes that load data, a cell.
        place: Where they train; this machine, by ``jobs`` and ``workers``, if None.
        on_done: Called when a cell is finished, with its error or None; one call at a time.

    Returns:
        Name of each failed cell to the last thing it said.

    Raises:
        ValueError: If a folder holds a run of another configuration; before anything trains.
    """
    check_folders(cells, out)
    trainer = place or Trainer(out, jobs=jobs, workers=workers)
    failed: dict[str, str] = {}
    telling = Lock()
    ended = {cell.name: Event() for cell in cells}

    def one(cell: Cell) -> None:
        error = None
        beside = [other.name for other in references(cell, cells)]
        for other in beside:  # they began before this one
            while not ended[other].wait(0.2) and not trainer.stop.is_set():
                pass
        try:
            if not RunFolder(out / cell.name).finished and not trainer.stop.is_set():
                there = [other for other in beside if RunFolder(out / other).finished]
                error = trainer.train(cell.name, cell.arguments, there)
        finally:
            ended[cell.name].set()
        if error:
            failed[cell.name] = error
        if on_done and not trainer.stop.is_set():
            with telling:
                on_done(cell, error)

    with ThreadPoolExecutor(trainer.count) as pool:
        try:
            for future in [pool.submit(one, cell) for cell in cells]:
                future.result()
        except BaseException:
            trainer.stop.set()
            raise
    return failed


def check_folders(cells: Sequence[Cell], out: Path) -> None:
    """Raises ValueError if ``out`` is no folder, or that of a cell holds a run of another configuration."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file, and runs are folders in one; choose another --out.")
    for cell in cells:
        if RunFolder(out / cell.name).config.exists():
            RunFolder(out / cell.name).claim(cell.config)


def references(cell: Cell, cells: Sequence[Cell]) -> list[Cell]:
    """The dense runs before a cell that its training looks at, so that it waits for them; most are compared by tables alone."""
    if cell.dense or not judges(cell.config):
        return []
    before = cells[: cells.index(cell)]
    dense = [c for c in before if c.dense and (c.tasks, c.seed) == (cell.tasks, cell.seed)]
    return [other for other in dense if {*other.settings} <= {*cell.settings}]


class Trainer:
    """Runs ``secateur train`` in processes of their own, as many at a time as there is room for; threads may share it.

    Args:
        out: Folder of the runs; what each says goes to ``logs`` in it.
        jobs: Runs at a time: on GPUs one each if None, on a CPU one.
        workers: Processes that load data, a run.
        environment: Of every run, where this machine's devices and cores are shared out already.

    Raises:
        ValueError: If ``jobs`` or ``workers`` is no count.
    """

    def __init__(
        self,
        out: Path,
        *,
        jobs: int | None = None,
        workers: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if jobs is not None:
            check_count("--jobs", jobs, remedy="give how many runs at a time")
        check_count("--workers", workers, 0)
        gpus = _gpus() if environment is None else []
        self.out, self.workers = out, workers
        self.count = jobs or max(1, len(gpus))
        self.stop = Event()
        """Ends what runs, and lets nothing begin."""
        self._places: SimpleQueue[dict[str, str]] = SimpleQueue()
        for place in range(self.count):
            gpu = gpus[place % len(gpus)] if gpus else None
            self._places.put(_environment(gpu, self.count) if environment is None else dict(environment))

    def train(self, name: str, arguments: Sequence[str], beside: Sequence[str] = ()) -> str | None:
        """Trains to the end, in the folder ``name`` of ``out``; its last words if it fails.

        Where another process trains there already, its end is waited for.
        """
        environment, folder = self._places.get(), RunFolder(self.out / name)
        try:
            while True:
                while folder.busy and not self.stop.wait(0.5):
                    pass
                if self.stop.is_set():
                    return None
                error = _train(name, self.out, environment, arguments, self.workers, self.stop)
                if error is None or not folder.busy:  # else another was faster than this one
                    return error
        finally:
            self._places.put(environment)


def _train(
    name: str, out: Path, environment: dict[str, str], arguments: Sequence[str], workers: int, stop: Event
) -> str | None:
    log = out / "logs" / f"{name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    options = ["--out", str(out / name), f"--workers={workers}"]
    command = [sys.executable, "-P", str(_BOUND), "secateur", "train", *arguments, *options]
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.PIPE, env=environment
        )
        with process:  # it ends when its input does, so also when this process is killed
            try:
                while process.poll() is None and not stop.is_set():
                    time.sleep(0.2)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
    if process.returncode == 0 or stop.is_set():
        return None
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    return lines[-1] if lines else f"ended with status {process.returncode}"


def _gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may be set to, one device each."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]
    return names[: torch.cuda.device_count()]


def _environment(gpu: str | None, jobs: int) -> dict[str, str]:
    """A device of its own, or a share of the cores."""
    if gpu is not None:
        return {**os.environ, "CUDA_VISIBLE_DEVICES": gpu}
    threads = max(1, len(os.sched_getaffinity(0)) // jobs) if hasattr(os, "sched_getaffinity") else 1
    return {"OMP_NUM_THREADS": str(threads), **os.environ}
