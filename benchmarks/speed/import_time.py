"""How long imports and the command line's first words take, as ratios to ``import torch``.

    OMP_NUM_THREADS=1 python benchmarks/speed/import_time.py --repeats 9 --before SRC

Every case is a fresh process; the cases take turns, in another order each round, so that what disturbs the machine disturbs
all of them, and one round before is not counted (it compiles the files). Wall time is what a user waits; processor time
(user and system) hardly changes when others use the machine. ``--before SRC`` measures the sources of an older commit in
the same rounds. Writes docs/results/import_time.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import secateur
from secateur.deployment.bench.machine import machine, versions

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
NAMES = "from secateur import Problem, Task, SoftThreshold, fit, evaluate, compact, save, load"
CASES = {
    "python -c pass": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import secateur": ["-c", "import secateur"],
    NAMES: ["-c", NAMES],
    "secateur --version": ["-m", "secateur", "--version"],
    "secateur --help": ["-m", "secateur", "--help"],
    "secateur train --help": ["-m", "secateur", "train", "--help"],
}
OURS = [name for name in CASES if "secateur" in name]
SINCE = {"secateur --version"}  # what there was not before


def once(arguments: list[str], sources: Path) -> tuple[float, float]:
    """Seconds of a fresh process, by the wall and by the processor."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": str(sources)},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"python {arguments} ended with exit status {process.returncode}.")
    return wall, used.ru_utime + used.ru_stime


def summary(seconds: list[float]) -> dict[str, Any]:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(seconds, n=4)
    return {"median": middle, "quartiles": [low, high]}


def measured(repeats: int, before: Path | None) -> dict[str, Any]:
    """Of each case wall and processor seconds, and the ratios of their medians to those of ``import torch``."""
    own = Path(secateur.__file__).parents[1]
    cases = {name: (arguments, own) for name, arguments in CASES.items()}
    if before is not None:
        cases |= {f"{name}, before": (CASES[name], before) for name in OURS if name not in SINCE}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    order = random.Random(0)
    for round_ in range(repeats + 1):
        for name in order.sample(list(cases), len(cases)):
            found = once(*cases[name])
            if round_:
                times[name].append(found)
    wall = {name: summary([w for w, _ in found]) for name, found in times.items()}
    processor = {name: summary([p for _, p in found]) for name, found in times.items()}
    torch = "import torch"
    return {
        name: {
            "wall_seconds": wall[name],
            "processor_seconds": processor[name],
            "wall_ratio": wall[name]["median"] / wall[torch]["median"],
            "processor_ratio": processor[name]["median"] / processor[torch]["median"],
        }
        for name in cases
    }


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15, help="rounds that are counted, at least 2")
    parser.add_argument("--before", type=Path, default=None, help="folder src of an older commit")
    parser.add_argument("--out", type=Path, default=RESULTS / "import_time.json")
    options = parser.parse_args()
    found = measured(options.repeats, options.before)
    for name, of in found.items():
        wall, processor = of["wall_seconds"], of["processor_seconds"]
        low, high = wall["quartiles"]
        print(
            f"{name[:44]:44s} {wall['median']:6.3f} s ({low:.3f} to {high:.3f}), x{of['wall_ratio']:.3f}; "
            f"processor {processor['median']:6.3f} s, x{of['processor_ratio']:.3f}"
        )
    about = {
        "command": f"OMP_NUM_THREADS=1 python benchmarks/speed/import_time.py --repeats {options.repeats}"
        + (" --before SRC" if options.before else ""),
        "repeats": options.repeats,
        "machine": machine(),
        "versions": versions(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**about, "cases": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
