"""One picture of what time and accuracy a trained network has once it was pruned to a budget, in float and in bytes.

python benchmarks/quality/time_and_accuracy.py

Reads docs/results/budgets.json and int8_budgets.json, the same network in OpenVINO on one thread; writes time_and_accuracy.svg beside them.
"""

from __future__ import annotations

import json
from pathlib import Path

from secateur.runs.report import INK, MUTED, SERIES, new_figure, standalone, to_svg

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
TITLE = "Change of the metrics over how many times faster a network is than its dense form in float"


def points() -> dict[str, list[tuple[str, float, float]]]:
    """Precision to (network, times faster than dense in float, ΔT in percent)."""
    budgets = json.loads((RESULTS / "budgets.json").read_text(encoding="utf-8"))["cases"]["deeplab"]["rows"]
    found = {"float": [("dense", 1.0, 0.0)], "int8": []}
    for row in budgets:
        if row["engine"] == "openvino":
            name = f"1/{1 / row['share']:.0f} of the time"
            found["float"].append((name, row["dense_ms"] / row["measured_ms"], row["delta_t"]["mean"]))
    for row in json.loads((RESULTS / "int8_budgets.json").read_text(encoding="utf-8"))["rows"]:
        if row["precision"] == "int8":
            name = "dense" if row["network"] == "dense" else "1/4 of the time"
            found["int8"].append((f"{name}, in bytes", row["against"][0], row["delta_t"]["mean"]))
    return found


def main() -> None:
    """Draws it."""
    figure, axes = new_figure(660, 300, 56, 36)
    for (precision, found), colour in zip(points().items(), SERIES, strict=False):
        _, times, changes = zip(*found, strict=True)
        axes.plot(
            times, changes, "o-", color=colour, markersize=6, linewidth=1.5, label=precision, clip_on=False
        )
        for name, faster, change in found:
            above = precision == "int8" or name == "dense"
            axes.annotate(
                name if name == "dense" else f"{name}\n{faster:.1f}x, {round(change, 1) + 0.0:+.1f} %",
                (faster, change),
                xytext=(0, 10) if above else (-8, -4),
                textcoords="offset points",
                ha="center" if above else "right",
                va="bottom" if above else "top",
                fontsize=11,
                color=INK,
                parse_math=False,
            )
    axes.set(xlim=(0, 10), ylim=(-36, 8))
    axes.set_xlabel("times faster than the dense network in float", fontsize=11, color=MUTED)
    axes.set_ylabel("ΔT (%)", fontsize=11, color=MUTED)
    axes.legend(frameon=False, loc="lower left", fontsize=11, labelcolor=INK)
    (RESULTS / "time_and_accuracy.svg").write_text(
        standalone(to_svg(figure, "time", TITLE)), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
