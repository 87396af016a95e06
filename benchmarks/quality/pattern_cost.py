"""What blocks of two and of four output channels cost in accuracy against single weights, NYU-v2, AdapMTL at 90 and 95 %, three seeds.

    python benchmarks/quality/pattern_cost.py --root data/nyuv2_160x120 --out runs/pattern_cost

In the setting of Table 1 (docs/measured/table1.md). Trains what is missing (about two minutes a run on one core, 21 runs), then writes
the raw figures to docs/results/pattern_cost.json and the table to docs/results/pattern_cost.md. Finished runs are not
trained again. ``--steps 4`` tries it, in a folder of its own, and writes nothing to docs.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from nyuv2_small import SEEDS, arguments, train_all, write
from secateur.measures.seeds import stat

SETTING = [
    "--model.width",
    "0.125",
    "--size",
    "60x80",
    "--batch",
    "16",
    "--precision",
    "bf16-mixed",
    "--device",
    "cpu",
]
SINGLE = "unstructured"
PATTERNS = {SINGLE: "single weights", "2x1": "2x1", "4x1": "4x1"}
DENSITIES = (0.1, 0.05)


def arm(pattern: str, density: float) -> str:
    """The name of the runs of a pattern at a density."""
    return f"{pattern}-{density:g}"


def arms(steps: int) -> dict[str, list[str]]:
    """Name to recipe and options."""
    common = [*SETTING, "--steps", str(steps)]
    made = {"dense": ["dense", *common]}
    for density in DENSITIES:
        for pattern in PATTERNS:
            own = ["--method.pattern", pattern, "--method.density", f"{density:g}"]
            made[arm(pattern, density)] = ["adapmtl", *common, *own]
    return made


def read(folder: Path) -> dict[str, Any]:
    """What a run reports, without what no table needs."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    keys = ("seed", "command", "hardware", "versions", "tasks", "higher_is_better", "delta_t")
    density = {key: report["density"][key] for key in ("overall", "components")}
    found = {**{key: report[key] for key in keys}, "density": density}
    found["delta_t"]["against"] = Path(found["delta_t"]["against"]).name
    return found


def delta(run: dict[str, Any], task: str | None = None) -> float:
    """ΔT of a run, or of one of its tasks; NaN where a metric of the dense run is zero, as after a few steps."""
    found = run["delta_t"]["tasks"].get(task) if task else run["delta_t"]["mean"]
    return math.nan if found is None else found


def said(values: list[float], signed: bool = True) -> str:
    """Mean and half the 95 % confidence interval."""
    found = stat(values)
    return f"{found.mean:{'+' if signed else ''}.1f}" + (
        "" if found.margin is None else f" ± {found.margin:.1f}"
    )


def table(runs: dict[str, list[dict[str, Any]]]) -> str:
    """ΔT of each pattern and density, its difference to single weights seed by seed, ΔT of the tasks, densities."""
    tasks, parts = list(runs["dense"][0]["tasks"]), list(runs["dense"][0]["density"]["components"])
    heads = ["shape", "sparsity", "ΔT", "ΔT above single weights", *(f"ΔT {task}" for task in tasks)]
    heads.append(f"sparsity {', '.join(parts)} (%)")
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for density in DENSITIES:
        single = [delta(run) for run in runs[arm(SINGLE, density)]]
        for pattern, name in PATTERNS.items():
            found = runs[arm(pattern, density)]
            deltas = [delta(run) for run in found]
            gaps = [d - s for d, s in zip(deltas, single, strict=True)]
            cells = [
                name,
                f"{100 * (1 - density):g} %",
                said(deltas),
                "" if pattern == SINGLE else said(gaps),
            ]
            cells += [said([delta(run, task) for run in found]) for task in tasks]
            kept = [stat(run["density"]["components"][part] for run in found).mean for part in parts]
            cells.append(", ".join(f"{100 * (1 - share):.1f}" for share in kept))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Trains, then writes the figures."""
    parser = arguments(__doc__, "runs/pattern_cost", "NYU-v2")
    parser.add_argument(
        "--steps", type=int, default=600, help="fewer only try the script, and write nothing to docs"
    )
    options = parser.parse_args()
    out = options.out if options.steps == 600 else options.out / f"steps-{options.steps}"
    train_all(arms(options.steps), options.root, out, options.workers, setting=())
    runs = {name: [read(out / f"{name}-{seed}") for seed in SEEDS] for name in arms(options.steps)}
    if options.steps == 600:
        write("pattern_cost", runs, table(runs))
    else:
        print(table(runs))


if __name__ == "__main__":
    main()
