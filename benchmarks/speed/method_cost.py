"""What each method costs to train, as a ratio to dense training: time of a step, peak memory, and scoring by task.

    OMP_NUM_THREADS=1 python benchmarks/speed/method_cost.py

Steps are taken in turn (turns.py); each method exchanges or prunes as often as it would in a run of 100 steps, so what it
does now and then is in the mean. Memory is the peak resident size of a process of its own; ``--memory`` measures it alone and
leaves the rest of the file. Scoring: the time of all tasks' gradients (DiSparse, the overlap map) over that of the gradient of
their sum (SNIP), by number of tasks. Writes docs/results/method_cost.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from secateur.problem.components import prunable
from secateur.problem.problem import Problem, Task
from secateur.pruning import scores
from secateur.pruning.sparsifier import Sparsifier
from secateur.runs.config import build, parse, resolved
from secateur.training.fit import fit
from secateur.zoo import deeplab_resnet34
from turns import ratios, step_times

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
RECIPES = (
    "dense", "magnitude", "magnitude_one_shot", "magnitude_2_4", "snip", "taylor", "random", "disparse", "disparse_pretrained",
    "disparse_taylor", "disparse_dynamic", "rigl", "set", "st3", "str", "l1", "lth", "lth_iterative", "imp", "adapmtl",
)  # fmt: skip
STEPS = 100


def problem(width: float, batch: int, tasks: int = 3) -> Problem:
    """Deeplab-ResNet34 with heads of one channel on random images of 120x160."""
    torch.manual_seed(0)
    names = [f"task{i}" for i in range(tasks)]
    model = deeplab_resnet34(dict.fromkeys(names, 1), width)
    targets = {name: torch.rand(batch, 1, 16, 21) for name in names}  # an eighth of the image, rounded up
    return Problem(model, dict.fromkeys(names, Task(F.l1_loss)), [(torch.randn(batch, 3, 120, 160), targets)])


def method(recipe: str) -> Sparsifier:
    """The method of a recipe."""
    return build("method", resolved(parse([recipe])))


def memory(width: float, batch: int) -> dict[str, Any]:
    """Peak resident bytes of processes that each train a recipe for five steps a round, and their ratios to dense."""
    peaks: dict[str, int] = {}
    for recipe in RECIPES:
        command = [sys.executable, __file__, "--peak", recipe, "--width", str(width), "--batch", str(batch)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[recipe] = int(done.stdout.split()[-1])
        print(f"{recipe:18s} {peaks[recipe] / 1e6:.0f} MB", flush=True)
    return {
        "memory_torch": torch.__version__,
        "memory_bytes": peaks,
        "memory": {recipe: peak / peaks["dense"] for recipe, peak in peaks.items()},
    }


def peak() -> int:
    """Largest resident memory of this process so far, in bytes; not ``ru_maxrss``, which starts from that of the parent."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def scoring(width: float, batch: int, repeats: int = 5) -> dict[str, float]:
    """Number of tasks to the time of the tasks' gradients over that of the gradient of the sum."""
    found: dict[str, float] = {}
    for tasks in (1, 2, 3, 5):
        made = problem(width, batch, tasks)
        weights = prunable(made.model)
        found[str(tasks)] = statistics.median(
            _seconds(lambda m=made, w=weights: scores.task_gradients(m, w))
            / _seconds(lambda m=made, w=weights: scores.gradients(m, w))
            for _ in range(repeats)
        )
    return found


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--count", type=int, default=20, help="steps measured")
    parser.add_argument("--memory", action="store_true", help="measures memory anew and leaves the rest")
    parser.add_argument("--peak", help="only trains this recipe and says how much memory it took")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        fit(problem(options.width, options.batch), method(options.peak), steps=5, progress=False)
        print(peak())
        return
    file = RESULTS / "method_cost.json"
    if options.memory:
        found = json.loads(file.read_text(encoding="utf-8")) | memory(options.width, options.batch)
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return
    times = step_times(
        {recipe: method(recipe) for recipe in RECIPES},
        lambda: problem(options.width, options.batch),
        options.count,
        STEPS,
    )
    found = {
        "command": f"python benchmarks/speed/method_cost.py --width {options.width} --batch {options.batch} --count {options.count}",
        "seed": 0,
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "dense_seconds": statistics.median(times["dense"]),
        "time": ratios(times, "dense"),
        "mean_time": {r: sum(own) / sum(times["dense"]) for r, own in times.items()},
        "rounds": {recipe: method(recipe).rounds for recipe in RECIPES},
        **memory(options.width, options.batch),
        "scoring": scoring(options.width, options.batch),
    }
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for recipe in RECIPES:
        print(
            f"{recipe:18s} time x{found['time'][recipe]['median']:.3f} mean x{found['mean_time'][recipe]:.3f} "
            f"rounds {found['rounds'][recipe]} memory x{found['memory'][recipe]:.2f}"
        )
    print("scoring by number of tasks", found["scoring"])


if __name__ == "__main__":
    main()
