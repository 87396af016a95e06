"""Rows of tables of docs/results.md from what `secateur compare` wrote: a few columns, also over an option.

    python benchmarks/quality/table1_rows.py runs/mended/results.json docs/results/table1_mended.json
    python benchmarks/quality/table1_rows.py runs/steps/results.json docs/results/steps.json

Copies the figures to the second file and writes the table beside it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

COLUMNS = {
    ("ΔT", "mean"): "ΔT", ("ΔT", "seg"): "ΔT seg", ("ΔT", "normal"): "ΔT normal", ("ΔT", "depth"): "ΔT depth",
    ("seg", "miou"): "seg mIoU ↑", ("normal", "mean"): "normal mean ↓", ("depth", "abs"): "depth abs ↓",
}  # fmt: skip
DIGITS = {"seg mIoU ↑": 4, "normal mean ↓": 2, "depth abs ↓": 4}


def row(arm: dict[str, Any]) -> str:
    """One method: means, of ΔT with half the 95 % interval, of metrics with the standard deviation."""
    figures = {(f["group"], f["name"]): f for f in arm["figures"]}
    cells: list[str] = []
    seeds = len(next(iter(figures.values()))["seeds"])
    for key, title in COLUMNS.items():
        found = figures.get(key)
        if found is None or (key[0] == "ΔT" and arm["dense"]):
            cells.append("reference" if arm["dense"] else "")
        elif key[0] == "ΔT":
            cells.append(f"{found['mean']:+.1f}" + (f" ± {found['margin_95']:.1f}" if seeds > 1 else ""))
        else:
            digits = DIGITS[title]
            cells.append(
                f"{found['mean']:.{digits}f}" + (f" ± {found['sd']:.{digits}f}" if seeds > 1 else "")
            )
    name = ", ".join(
        [arm["recipe"], *(f"{value} {option}" for option, value in arm.get("settings", {}).items())]
    )
    return f"| {name} | {' | '.join(cells)} | {seeds} |"


def main() -> None:
    """Copies and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    raw = json.loads(options.source.read_text(encoding="utf-8"))
    lines = [
        f"| recipe | {' | '.join(COLUMNS.values())} | seeds |",
        f"| --- |{' ---: |' * (len(COLUMNS) + 1)}",
    ]
    lines += [row(arm) for arm in raw["arms"]]
    options.out.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    options.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
