"""Threshold rules at 90 % on NYU-v2, ranked on the validation split: what makes `adapmtl_per_component` what it is.

    python benchmarks/quality/threshold_rules.py --root data/nyuv2_160x120 --out runs/nyuv2_small

Shares setting and runs with benchmarks/quality/nyuv2_small.py, trains what is missing, and writes the raw validation figures to
docs/results/threshold_rules.json and the ranking to docs/results/threshold_rules.md. The test split plays no part here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nyuv2_small import ARMS, SEEDS, arguments, read, spread, train_all, write
from secateur.measures import delta_t

ONE = ["adapmtl_one_threshold", "--method.density", "0.1"]
SOFT, EARLY = ["--method.shrinkage", "soft"], ["--method.ramp", "[0.1,0.6]"]
RULES = {
    "dense": ("dense", ARMS["dense"]),
    "adapmtl": ("garrote, offsets by cost, ramp to 80 % (`adapmtl_per_component`)", ARMS["adapmtl"]),
    "adapmtl_scale": ("garrote, offsets by scale, ramp to 80 %", ARMS["adapmtl_scale"]),
    "adapmtl_per_layer": (
        "garrote, offsets by cost per layer, ramp to 80 %",
        ["adapmtl_per_component", *ONE[1:], "--method.components", "layer"],
    ),
    "adapmtl_soft": ("soft, offsets by cost, ramp to 80 %", ["adapmtl_per_component", *ONE[1:], *SOFT]),
    "adapmtl_one_threshold": ("garrote, one threshold, ramp to 80 %", ARMS["adapmtl_one_threshold"]),
    "one_garrote_early": ("garrote, one threshold, ramp to 60 %", [*ONE, *EARLY]),
    "one_soft": ("soft, one threshold, ramp to 80 %", [*ONE, *SOFT]),
    "one_soft_early": ("soft, one threshold, ramp to 60 % (the rule to beat)", [*ONE, *SOFT, *EARLY]),
    "one_published_gradient": (
        "soft, one threshold, ramp to 80 %, no straight-through gradient",
        [*ONE, *SOFT, "--method.straight_through", "false"],
    ),
    "magnitude": ("gradual magnitude, ramp to 60 %", ARMS["magnitude"]),
    "adapmtl_equal_weights": (
        "`adapmtl_per_component`, tasks weighed equally",
        ["adapmtl_per_component", *ONE[1:], "--weighting", "Equal"],
    ),
    "dense_equal_weights": ("dense, tasks weighed equally", ["dense_equal_weights"]),
}


def validation(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Per rule and seed: validation metrics, ΔT against the dense run of the seed, density per component."""
    runs = {arm: [read(out / f"{arm}-{seed}") for seed in SEEDS] for arm in RULES}
    better = runs["dense"][0]["higher_is_better"]
    found: dict[str, list[dict[str, Any]]] = {}
    for arm, reports in runs.items():
        found[arm] = []
        for report, dense in zip(reports, runs["dense"], strict=True):
            delta = delta_t(report["val"], dense["val"], better)
            about = {key: report[key] for key in ("seed", "command", "hardware", "versions", "val")}
            density = report["density"]["components"]
            found[arm].append(
                {**about, "delta_t": {"mean": delta.overall, "tasks": delta.tasks}, "density": density}
            )
    return found


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """The ranking as Markdown: ΔT, its difference to the rule to beat seed by seed, tasks, densities."""
    base = [run["delta_t"]["mean"] for run in found["one_soft_early"]]
    tasks, parts = list(found["dense"][0]["delta_t"]["tasks"]), list(found["dense"][0]["density"])
    heads = [
        "rule",
        "ΔT (%)",
        "above the rule to beat",
        *(f"ΔT {t}" for t in tasks),
        f"density {', '.join(parts)} (%)",
    ]
    lines = [" | ".join(["", *heads, ""]).strip(), "| --- |" + " ---: |" * (len(heads) - 1)]

    def mean(arm: str) -> float:
        return sum(run["delta_t"]["mean"] for run in found[arm])

    for arm in sorted(found, key=mean, reverse=True):
        deltas = [run["delta_t"]["mean"] for run in found[arm]]
        cells = [RULES[arm][0], spread(deltas), spread([d - b for d, b in zip(deltas, base, strict=True)])]
        cells += [spread([run["delta_t"]["tasks"][task] for run in found[arm]]) for task in tasks]
        kept = [sum(run["density"][part] for run in found[arm]) / len(found[arm]) for part in parts]
        cells.append(", ".join(f"{100 * k:.1f}" for k in kept))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Trains, then writes the figures."""
    options = arguments(__doc__, "runs/nyuv2_small", "NYU-v2").parse_args()
    commands = {arm: command for arm, (_, command) in RULES.items()}
    train_all(commands, options.root, options.out, options.workers)
    found = validation(options.out)
    write("threshold_rules", found, table(found))


if __name__ == "__main__":
    main()
