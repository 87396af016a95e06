"""NYU-v2 at a small width on a CPU: dense, AdapMTL by component, its ablations and gradual magnitude pruning at 90 %, three seeds.

    python benchmarks/quality/nyuv2_small.py --root data/nyuv2_160x120 --out runs/nyuv2_small

Trains what is missing (about three minutes a run on one core; two run side by side), then writes the raw figures to
docs/results/nyuv2_small.json and the tables to docs/results/nyuv2_small.md. Finished runs are not trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
SMALL = [
    "--model.width",
    "0.125",
    "--size",
    "60x80",
    "--steps",
    "1200",
    "--batch",
    "16",
    "--precision",
    "bf16-mixed",
    "--validate_every",
    "600",
]
ARMS = {
    "dense": ["dense"],
    "adapmtl": ["adapmtl_per_component", "--method.density", "0.1"],
    "adapmtl_one_threshold": ["adapmtl_one_threshold", "--method.density", "0.1"],
    "adapmtl_scale": ["adapmtl_per_component", "--method.density", "0.1", "--method.allocation", "scale"],
    "magnitude": ["magnitude", "--method.density", "0.1"],
}
SEEDS = (0, 1, 2)


def train(
    root: str, out: Path, arm: str, arguments: list[str], seed: int, setting: Sequence[str] = SMALL
) -> None:
    """One run, on one thread; returns at once if it is finished."""
    recipe, *options = arguments
    command = ["train", recipe, "--data", "nyuv2", "--data.root", root, *setting]
    command += ["--out", str(out / f"{arm}-{seed}"), *options, "--seed", str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "secateur", *command], env=environment, check=True)


def train_all(
    arms: dict[str, list[str]], root: str, out: Path, workers: int, setting: Sequence[str] = SMALL
) -> None:
    """All arms with all seeds, some side by side, the dense references first."""
    with ThreadPoolExecutor(workers) as pool:
        for chosen in (["dense"], [arm for arm in arms if arm != "dense"]):
            jobs = [(arm, seed) for seed in SEEDS for arm in chosen]
            list(pool.map(lambda job: train(root, out, job[0], arms[job[0]], job[1], setting), jobs))


def read(folder: Path) -> dict[str, Any]:
    """The report of a run, and its last validation."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    del report["density"]["layers"]
    report["delta_t"]["against"] = Path(report["delta_t"]["against"]).name
    return {**report, "val": [row["val"] for row in rows if "val" in row][-1]}


def spread(values: list[float], places: int = 2) -> str:
    """Mean and sample standard deviation."""
    return f"{statistics.fmean(values):.{places}f} ± {statistics.stdev(values) if len(values) > 1 else 0:.{places}f}"


def table(runs: dict[str, list[dict[str, Any]]]) -> str:
    """The test metrics and the densities, as Markdown."""
    metrics = [(task, metric) for task, values in runs["dense"][0]["tasks"].items() for metric in values]
    lines = ["| | " + " | ".join(runs) + " |", "| --- |" + " ---: |" * len(runs)]
    for key in ("mean", "sum"):
        cells = [spread([r["delta_t"][key] for r in found]) for found in runs.values()]
        lines.append(f"| ΔT, {key} over metrics (%) | " + " | ".join(cells) + " |")
    for task in runs["dense"][0]["tasks"]:
        cells = [spread([r["delta_t"]["tasks"][task] for r in found]) for found in runs.values()]
        lines.append(f"| ΔT of {task} (%) | " + " | ".join(cells) + " |")
    for task, metric in metrics:
        cells = [spread([r["tasks"][task][metric] for r in found], 4) for found in runs.values()]
        arrow = "↑" if runs["dense"][0]["higher_is_better"][task][metric] else "↓"
        lines.append(f"| {task} {metric} {arrow} | " + " | ".join(cells) + " |")
    for component in runs["dense"][0]["density"]["components"]:
        cells = [
            spread([100 * r["density"]["components"][component] for r in found], 1) for found in runs.values()
        ]
        lines.append(f"| density of {component} (%) | " + " | ".join(cells) + " |")
    lines.append("| seeds | " + " | ".join(str(len(found)) for found in runs.values()) + " |")
    return "\n".join(lines)


def arguments(
    about: str | None, out: str, root: str | None = None, workers: int = 2
) -> argparse.ArgumentParser:
    """The options of a benchmark that trains: ``--root`` where it needs files, ``--out``, ``--workers``."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    if root is not None:
        parser.add_argument("--root", required=True, help=f"folder of {root}")
    parser.add_argument("--out", type=Path, default=Path(out), help="of the runs")
    parser.add_argument("--workers", type=int, default=workers, help="runs side by side")
    return parser


def write(name: str, raw: Any, text: str) -> None:
    """The raw figures and the table that the documentation shows, which is printed too."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def main() -> None:
    """Trains, then writes the figures."""
    options = arguments(__doc__, "runs/nyuv2_small", "NYU-v2").parse_args()
    train_all(ARMS, options.root, options.out, options.workers)
    runs = {arm: [read(options.out / f"{arm}-{seed}") for seed in SEEDS] for arm in ARMS}
    write("nyuv2_small", runs, table(runs))


if __name__ == "__main__":
    main()
