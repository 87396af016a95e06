"""Less is More on NYU-v2 at a small width on a CPU: strengths by hand and learned, removed channels, speed; three seeds.

    python benchmarks/quality/less_is_more.py --root data/nyuv2_160x120 --out runs/less_is_more

Trains what is missing (about four minutes a run on one core; two run side by side), compacts every network, times those
of the first seed against their dense reference, and writes docs/results/less_is_more.json and docs/results/less_is_more.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nyuv2_small import SEEDS, arguments, read, spread, table, train_all, write
from secateur.measures.metrics import group_sparsity
from secateur.runs.deploy import bench_runs, compact_run
from secateur.runs.folder import RunFolder
from secateur.runs.run import make_problem
from secateur.storage.saving import load

NETWORK = ["--model", "lim_resnetd50"]
BY_HAND = ["less_is_more", *NETWORK, "--method.density", "null", "--method.groups", "input"]
ARMS = {
    "dense": ["dense", *NETWORK, "--weighting", "UncertaintyWeighting"],
    "lambda_1e-6": [*BY_HAND, "--method.strength", "1e-6"],
    "lambda_1e-5": [*BY_HAND, "--method.strength", "1e-5"],
    "learned_0.3": ["less_is_more", *NETWORK, "--method.density", "0.3"],
}
ENGINES = ("onnxruntime", "openvino")
SIZE = "240x320"


def sparsity(folder: Path) -> dict[str, float]:
    """Published group and parameter sparsity of the backbone's convolutions, and the share of exact zeros."""
    problem, _ = make_problem(RunFolder(folder).read_config())
    load(problem.model, RunFolder(folder).weights)
    shared = [p for n, p in problem.model.named_parameters() if p.dim() == 4 and len(problem.owners[n]) > 1]
    found = group_sparsity(shared)
    return {"groups": found.groups, "parameters": found.parameters, "elements": found.elements}


def figures(folder: Path) -> dict[str, Any]:
    """A run's report, its sparsity, and its size before and after compaction."""
    _, made, sizes = compact_run(folder)
    return {
        **read(folder),
        "sparsity": sparsity(folder),
        "compact": {**sizes, "channels": list(made.channels)},
    }


def rows(runs: dict[str, list[dict[str, Any]]], speed: dict[str, Any]) -> str:
    """The table of the metrics, then sparsity, size and speed."""
    lines = table(runs).splitlines()[:-1]
    for key in ("groups", "parameters", "elements"):
        cells = [spread([100 * r["sparsity"][key] for r in found], 1) for found in runs.values()]
        lines.append(f"| zero {key} of the backbone (%) | " + " | ".join(cells) + " |")
    for key in ("params", "macs"):
        shares = [
            spread([100 * r["compact"]["after"][key] / r["compact"]["before"][key] for r in found], 1)
            for found in runs.values()
        ]
        lines.append(f"| {key} left after compact (%) | " + " | ".join(shares) + " |")
    for engine, measures in speed["measures"].items():
        cells = [f"{measures[f'{arm}-0']['p50']:.2f}" if f"{arm}-0" in measures else "" for arm in runs]
        lines.append(f"| {engine}, ms at {SIZE}, seed 0 | " + " | ".join(cells) + " |")
    lines.append("| seeds | " + " | ".join(str(len(found)) for found in runs.values()) + " |")
    return "\n".join(lines)


def main() -> None:
    """Trains, compacts, times, then writes the figures."""
    options = arguments(__doc__, "runs/less_is_more", "NYU-v2").parse_args()
    train_all(ARMS, options.root, options.out, options.workers)
    runs = {arm: [figures(options.out / f"{arm}-{seed}") for seed in SEEDS] for arm in ARMS}
    pruned = [options.out / f"{arm}-0" for arm in ARMS if arm != "dense"]
    speed = bench_runs(pruned, ENGINES, against=options.out / "dense-0", size=SIZE).to_dict()
    write("less_is_more", {"runs": runs, "speed": speed}, rows(runs, speed))


if __name__ == "__main__":
    main()
