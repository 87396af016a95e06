"""Cost of one AdapMTL training step against a dense one, as a ratio, step by step in turn.

    python benchmarks/speed/step_cost.py --width 0.25 --threads 1

Two trainings of the same network on the same random images run in two threads that hand each other the turn after
every step, so that whatever disturbs the machine disturbs both. Reported is the median of the ratio of neighbouring
steps, while the thresholds move (``ramp``) and after the mask is frozen (``frozen``), for each batch size. Writes
docs/results/step_cost.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from secateur.methods import SoftThreshold
from secateur.problem.problem import Problem, Task
from secateur.pruning.sparsifier import Sparsifier
from secateur.training.fit import fit
from secateur.zoo import deeplab_resnet34
from turns import DoneError, Turns

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
HEIGHT, WIDTH = 120, 160


def timed(base: type[Sparsifier], turns: Turns, who: int, count: int, times: list[float]) -> type[Sparsifier]:
    """``base``, with the time of every step noted and the turn handed on after it."""

    class Timed(base):
        def start(self, problem: Problem, steps: int) -> None:
            super().start(problem, steps)
            turns.take(who)
            self.began = time.perf_counter()

        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            times.append(time.perf_counter() - self.began)
            turns.give(who)
            if step == count:
                raise DoneError
            turns.take(who)
            self.began = time.perf_counter()

    return Timed


def problem(width: float, batch: int) -> Problem:
    """The published network and losses on random images."""
    torch.manual_seed(0)
    channels = {"seg": 13, "normal": 3, "depth": 1}
    model = deeplab_resnet34(channels, width)
    grid = model(torch.zeros(2, 3, HEIGHT, WIDTH))["depth"].shape[-2:]
    targets = {
        "seg": torch.randint(0, 13, (batch, *grid)),
        "normal": torch.randn(batch, 3, *grid),
        "depth": torch.rand(batch, 1, *grid),
    }
    tasks = {"seg": Task(F.cross_entropy), "normal": Task(F.l1_loss), "depth": Task(F.l1_loss)}
    return Problem(model, tasks, [(torch.randn(batch, 3, HEIGHT, WIDTH), targets)])


def ratios(width: float, batch: int, phase: str, warmup: int, count: int) -> tuple[list[float], float]:
    """Ratio of each AdapMTL step to the dense step beside it, and the median dense time in seconds."""
    nominal = 1000
    # ramp: the density falls all along, as slowly as in a run of so many steps; frozen: right after the first step
    method = {
        "ramp": SoftThreshold(0.1, ramp=(0.0, 0.9)),
        "frozen": SoftThreshold(0.1, ramp=(0.0, 1.0 / nominal)),
    }[phase]
    turns, times = Turns(2), ([], [])
    methods: list[Any] = [Sparsifier(), method]
    for who, made in enumerate(methods):
        made.__class__ = timed(type(made), turns, who, warmup + count, times[who])

    def run(who: int) -> None:
        with contextlib.suppress(DoneError):
            fit(problem(width, batch), methods[who], steps=nominal, log_every=nominal)

    threads = [threading.Thread(target=run, args=(who,)) for who in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dense, pruned = (t[warmup:] for t in times)
    return [p / d for d, p in zip(dense, pruned, strict=True)], statistics.median(dense)


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--count", type=int, default=20, help="steps measured")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {
        "command": f"python benchmarks/speed/step_cost.py --width {options.width} --threads {options.threads} --count {options.count}",
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "size": [HEIGHT, WIDTH],
        "ratios": {},
    }
    for batch in (1, 4, 16):
        for phase in ("ramp", "frozen"):
            values, seconds = ratios(options.width, batch, phase, 5, options.count)
            low, middle, high = statistics.quantiles(values, n=4)
            found["ratios"][f"batch {batch}, {phase}"] = {
                "median": middle,
                "quartiles": [low, high],
                "dense_seconds": seconds,
            }
            print(
                f"batch {batch:2d} {phase:6s} x{middle:.3f} [{low:.3f}, {high:.3f}]  dense step {seconds * 1e3:.0f} ms",
                flush=True,
            )
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "step_cost.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
