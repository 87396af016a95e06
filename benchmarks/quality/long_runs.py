"""Trainings of 6,000 steps, ten times those of Table 1: does the order hold.

    secateur compare dense adapmtl disparse --density 0.1 --seeds 3 --steps 6000 --data nyuv2 --data.root data/nyuv2_160x120
        --model.width 0.125 --size 60x80 --batch 16 --device cuda --out runs/steps6000        (the trainings; on a CPU 25 minutes each)
    python benchmarks/quality/long_runs.py runs/steps6000 --trained-on "one H100, ..."

Reads what is there of each run: the losses of the last rows of training and, where its weights are, the metrics of the test split,
evaluated here. Writes docs/results/long_runs.json and .md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import yaml

from nyuv2_small import write
from secateur import delta_t
from secateur.measures import higher_is_better
from secateur.runs import RunFolder, evaluate_run, read_problem

LAST = 10  # rows of training that losses are the mean of
SHOWN = {"seg": "miou", "normal": "mean", "depth": "abs"}


def read(folder: Path) -> dict[str, Any] | None:
    """Seed, steps, density, losses and, of weights, metrics; None of a training that was not finished."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if "loss" in row]
    if rows[-1]["step"] != config["steps"]:
        return None
    last = rows[-LAST:]
    losses = {task: sum(row["loss"][task] for row in last) / len(last) for task in last[0]["loss"]}
    density = {key: rows[-1]["density"][key] for key in ("overall", "components")}
    found: dict[str, Any] = {"seed": config["seed"], "steps": config["steps"], "density": density}
    found |= {"precision": config["precision"], "loss": {k: round(v, 5) for k, v in losses.items()}}
    if RunFolder(folder).weights.exists():
        found["tasks"] = evaluate_run(folder, device="cpu")
    return found


def table(runs: dict[str, list[dict[str, Any]]], better: dict[str, dict[str, bool]]) -> str:
    """A row for each recipe: losses over its seeds, metrics of those that were evaluated."""
    tasks = list(runs["dense"][0]["loss"])
    heads = ["recipe", *(f"training loss {task}, by seed" for task in tasks), "seed evaluated"]
    heads += ["ΔT", *(f"{task} {metric}" for task, metric in SHOWN.items())]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    reference = {run["seed"]: run["tasks"] for run in runs["dense"] if "tasks" in run}
    for name, found in runs.items():
        cells = [name, *(", ".join(f"{run['loss'][task]:.3f}" for run in found) for task in tasks)]
        known = [run for run in found if "tasks" in run and run["seed"] in reference]
        cells.append(", ".join(str(run["seed"]) for run in known))
        gains = [delta_t(run["tasks"], reference[run["seed"]], better).overall for run in known]
        cells.append("reference" if name == "dense" else ", ".join(f"{gain:+.1f}" for gain in gains))
        for task, metric in SHOWN.items():
            cells.append(", ".join(f"{run['tasks'][task][metric]:.4g}" for run in known))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Reads, evaluates, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder of the comparison")
    parser.add_argument("--trained-on", required=True, help="hardware and versions of the trainings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs: dict[str, list[dict[str, Any]]] = {}
    for folder in sorted(path for path in options.out.iterdir() if (path / "config.yaml").exists()):
        if (found := read(folder)) is not None:
            runs.setdefault(folder.name.split("-")[0], []).append(found)
    runs = {"dense": runs.pop("dense"), **runs}
    first = next(folder for folder in options.out.iterdir() if (folder / "config.yaml").exists())
    problem, _ = read_problem(RunFolder(first))
    raw = {
        "command": f"python benchmarks/quality/long_runs.py {options.out}",
        "trained_on": options.trained_on,
        "runs": runs,
    }
    write("long_runs", raw, table(runs, higher_is_better(problem.tasks)))


if __name__ == "__main__":
    main()
