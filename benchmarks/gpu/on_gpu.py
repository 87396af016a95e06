"""Trains the runs of several tables on one GPU, many at a time, as fast as it goes.

    nvidia-cuda-mps-control -d
    python benchmarks/gpu/on_gpu.py benchmarks/gpu/on_gpu.txt --jobs 22 --minutes 10

Each line of the plan is a `secateur compare` command; what is listed first is trained first, one process a run, until the minutes are
over. The processes are forked from one that has imported everything; without the MPS server of the first line their kernels wait for each
other; what else makes them fast is in :mod:`graphed`. Then the commands of the plan write the tables. What the minutes cut off begins anew.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import takewhile
from pathlib import Path

import torch

import graphed
from secateur.cli import main as secateur
from secateur.cli.compare import parser
from secateur.runs.folder import RunFolder
from secateur.runs.study import Cell, grid


@dataclass(frozen=True)
class Job:
    """A run: its folder, what is trained, and how many processes load its data."""

    path: Path
    cell: Cell
    workers: int


def jobs_of(plan: Path) -> list[Job]:
    """What is not finished yet, in the order of the plan."""
    found: dict[Path, Job] = {}
    for line in plan.read_text(encoding="utf-8").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        words = words[words.index("compare") + 1 :]
        recipes = list(takewhile(lambda word: not word.startswith("-"), words))
        arguments, options = parser().split(words[len(recipes) :])
        densities = [density for several in arguments.density or () for density in several]
        for cell in grid(
            recipes, options, densities=densities, seeds=arguments.seeds, over=arguments.over or ()
        ):
            path = Path(arguments.out) / cell.name
            if not RunFolder(path).finished:
                found.setdefault(path, Job(path, cell, arguments.workers))
    return list(found.values())


def train(job: Job, gather: bool) -> int:
    """One run, in this process; its exit status."""
    log = job.path.parent / "logs" / f"{job.path.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    said = log.open("w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        os.dup2(said.fileno(), stream.fileno())
    torch.set_num_threads(1)
    graphed.accelerate(gather)
    run = import_module("secateur.runs.run")
    vars(run)["fit"] = partial(
        run.fit, checkpoint_every=sys.maxsize
    )  # what stopped here begins anew elsewhere
    options = ["--out", str(job.path), f"--workers={job.workers}", "--bench", "never"]
    return secateur(["train", *job.cell.arguments, *options])


def main() -> None:
    """Forks a process a run, as many as there is room for, until all are done or time is up."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("plan", type=Path, help="file of `secateur compare` lines")
    options.add_argument("--jobs", type=int, default=16, help="runs at a time")
    options.add_argument("--minutes", type=float, default=10.0, help="after which what runs is stopped")
    options.add_argument(
        "--gather", action="store_true", help="for wide networks with dilated convolutions, see graphed"
    )
    asked = options.parse_args()
    for module in (
        "secateur.training",
        "secateur.runs.run",
        "secateur.runs.report",
        "scipy.stats",
        "matplotlib.pyplot",
    ):
        import_module(module)
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # a process that has asked CUDA itself cannot be forked
    began, waiting, running = time.monotonic(), jobs_of(asked.plan), dict[int, tuple[str, float]]()
    shortest = 0.0  # seconds of a run
    print(f"{len(waiting)} runs", flush=True)
    while waiting or running:
        left = 60 * asked.minutes - (time.monotonic() - began)
        if left < shortest:  # what began now would not end, and slow what will
            waiting = []
        if left < 0:
            for process in running:
                os.kill(process, signal.SIGTERM)
        while waiting and len(running) < asked.jobs:
            job = waiting.pop(0)
            process = os.fork()
            if not process:
                status = 1
                try:
                    status = train(job, asked.gather)
                finally:
                    os._exit(status)
            running[process] = job.path.name, time.monotonic()
            print(f"{process} {job.path}", flush=True)
        time.sleep(0.1)
        while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            name, start = running.pop(ended[0])
            now, status = time.monotonic(), os.waitstatus_to_exitcode(ended[1])
            if not status:
                shortest = min(shortest or now - start, now - start)
            print(f"{now - began:6.1f} s {name}: status {status} after {now - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
