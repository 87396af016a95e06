"""Cost of the proximal step as a ratio of whole training steps, step by step in turn with plain fused Adam.

    python benchmarks/speed/prox_cost.py --width 0.25 --threads 1

Trainings of the same network on the same random images run in threads that hand each other the turn after every step,
so that whatever disturbs the machine disturbs all. Reported are the median and the quartiles of the ratio of
neighbouring steps: λ set by hand and the share controlled (cuts included), in the adaptive and the Euclidean metric.
Writes docs/results/prox_cost.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from secateur.methods import GroupLasso
from secateur.problem.problem import Problem, Task
from secateur.pruning.sparsifier import Sparsifier
from secateur.zoo import lim_resnetd50
from turns import ratios, step_times

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


def problem(width: float, batch: int, size: int, device: str) -> Problem:
    """The published network on random images."""
    torch.manual_seed(0)
    model = lim_resnetd50({"seg": 41, "normal": 3, "depth": 1}, width).to(device)
    grid = size // 8
    targets = {
        "seg": torch.randint(0, 41, (batch, grid, grid), device=device),
        "normal": torch.randn(batch, 3, grid, grid, device=device),
        "depth": torch.rand(batch, 1, grid, grid, device=device),
    }
    tasks = {"seg": Task(F.cross_entropy), "normal": Task(F.l1_loss), "depth": Task(F.l1_loss)}
    return Problem(model, tasks, [(torch.randn(batch, 3, size, size, device=device), targets)])


def methods() -> dict[str, Sparsifier]:
    """What is compared; the first is the yardstick."""
    return {
        "dense": Sparsifier(),
        "by hand, adaptive": GroupLasso(strength=1e-5),
        "by hand, euclidean": GroupLasso(strength=1e-5, metric="euclidean"),
        "controlled, adaptive": GroupLasso(density=0.3, ramp=(0.0, 0.9)),
        "l1 by hand, adaptive": GroupLasso(strength=1e-5, norm="l1", groups="input"),
    }


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Ratio of each method's steps to the dense steps beside them."""
    made = methods()
    times = step_times(
        made,
        lambda: problem(options.width, options.batch, options.size, options.device),
        options.count,
    )
    found: dict[str, Any] = {"dense_seconds": statistics.median(times["dense"])}
    found["ratios"] = {name: r for name, r in ratios(times, "dense").items() if name != "dense"}
    for name, r in found["ratios"].items():
        print(f"{name:22s} x{r['median']:.3f} {r['quartiles']}")
    print(f"dense step {found['dense_seconds'] * 1e3:.0f} ms")
    return found


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=128, help="height and width of the images, by eight")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--count", type=int, default=20, help="steps measured")
    parser.add_argument("--out", type=Path, default=RESULTS / "prox_cost.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {
        "command": f"python benchmarks/speed/prox_cost.py --width {options.width} --batch {options.batch} "
        f"--size {options.size} --threads {options.threads} --device {options.device} --count {options.count}",
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        **measured(options),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
