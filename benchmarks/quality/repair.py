"""What repair without training is worth: a trained network pruned in one shot to shares of its multiply-accumulates, in one round or four, repaired or not.

    python benchmarks/quality/repair.py RUN [--out runs/repair]

RUN is a finished dense run. Nothing is trained: ``secateur prune --steps 0`` scores the channels on 16 training batches, anew in each
round, and repairs on none or on 8. Metrics are of the test split, ΔT against RUN. Writes docs/results/repair.json and .md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from nyuv2_small import write
from secateur import delta_t

SHARES, WAYS = (0.7, 0.5), ((1, 0), (1, 8), (4, 0), (4, 8))  # rounds, and batches of the repair


def measure(run: Path, out: Path, rounds: int, repair: int) -> list[dict[str, Any]]:
    """A row for each share."""
    places = [out / f"{share:g}x-macs" for share in SHARES]
    if not all((place / "report.json").exists() for place in places):
        budget = ", ".join(f"{share:g}x macs" for share in SHARES)
        words = ["prune", str(run), "--budget", budget, "--steps", "0", "--rounds", str(rounds), "--repair", str(repair), "--out", str(out)]  # fmt: skip
        subprocess.run([sys.executable, "-m", "secateur", *words], check=True)
    dense, rows = json.loads((run / "report.json").read_text(encoding="utf-8")), list[dict[str, Any]]()
    for share, place in zip(SHARES, places, strict=True):
        report = json.loads((place / "report.json").read_text(encoding="utf-8"))
        costs = json.loads((place / "budget.json").read_text(encoding="utf-8"))
        gain = delta_t(report["tasks"], dense["tasks"], report["higher_is_better"])
        row: dict[str, Any] = {"share": share, "rounds": rounds, "batches": repair}
        row |= {"macs": costs["costs"]["macs"], "dense_macs": costs["dense"]["macs"]}
        row |= {"tasks": report["tasks"], "delta_t": {"mean": gain.overall, **gain.tasks}}
        rows.append(row | {key: report[key] for key in ("command", "seed", "hardware", "versions")})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """A row for each network."""
    tasks = [task for task in rows[0]["delta_t"] if task != "mean"]
    heads = ["multiply-accumulates left", "rounds", "repaired on", "ΔT (%)", *(f"ΔT {task}" for task in tasks)]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for row in sorted(rows, key=lambda row: (-row["share"], row["rounds"], row["batches"])):
        cells = [f"{row['macs'] / row['dense_macs']:.3f}", str(row["rounds"]), f"{row['batches']} batches" if row["batches"] else "nothing"]  # fmt: skip
        cells += [f"{row['delta_t'][key]:+.1f}" for key in ("mean", *tasks)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Prunes what is missing, then writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of the dense run")
    parser.add_argument("--out", type=Path, default=Path("runs/repair"))
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for rounds, repair in WAYS:
        rows += measure(options.run, options.out / f"{rounds}-{repair}", rounds, repair)
    dense = json.loads((options.run / "report.json").read_text(encoding="utf-8"))
    write("repair", {"dense": {"tasks": dense["tasks"], "command": dense["command"]}, "rows": rows}, table(rows))  # fmt: skip


if __name__ == "__main__":
    main()
