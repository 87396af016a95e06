"""ΔT over sparsity out of one or several comparisons that share their dense runs: the table and the figure.

    secateur compare dense adapmtl disparse ... --density 0.5 0.2 0.1 0.05 0.01 --seeds 3 ... --out runs/sweep
    python benchmarks/quality/density_sweep.py runs/sweep/results.json [more/results.json ...] --out docs/results/density_sweep

Writes OUT.md and OUT.svg. The dense runs of all files must be the same to the last digit; what several files
have, a recipe at a density, is taken from the last of them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from secateur.measures.seeds import stat
from secateur.runs.report.svg import standalone
from secateur.runs.study import Arm, Column, Results, curve

DELTA, STEPS = Column("ΔT", "mean", "higher", "points"), Column("cost", "steps", "", "count")
MEASURED = ("training time", "score time")  # ratios of wall-clock times, which no two runs share


def arm(record: dict[str, Any]) -> Arm:
    """Of what ``secateur compare`` wrote."""
    values: dict[Column, dict[int, float]] = {}
    for figure in record["figures"]:
        known = {(c.group, c.name): c for c in (DELTA, STEPS)}
        column = known.get((figure["group"], figure["name"])) or Column(
            figure["group"], figure["name"], figure["better"]
        )
        values[column] = {int(seed): value for seed, value in figure["seeds"].items()}
    return Arm(record["recipe"], record["density"], tuple(record["tasks"]), record["dense"], values)


def join(paths: list[Path]) -> Results:
    """All arms of all files, the dense one once.

    Raises:
        ValueError: If the dense runs differ.
    """
    found: dict[tuple[str, float | None], Arm] = {}
    for path in paths:
        arms = [arm(record) for record in json.loads(path.read_text(encoding="utf-8"))["arms"]]
        dense = next(a for a in arms if a.dense)
        first = found.setdefault((dense.recipe, None), dense)
        for column, value in dense.values.items():
            if column.name not in MEASURED and first.values.get(column) != value:
                raise ValueError(f"{path}: the dense runs are others than in {paths[0]}: {column}.")
        found |= {(a.recipe, a.density): a for a in arms if not a.dense}
    return Results((DELTA,), tuple(found.values()))


def table(results: Results) -> str:
    """Recipe by sparsity; of what trains as long as dense the best in bold, what a paired t-test does not tell from it in italics."""
    pruned = [a for a in results.arms if a.density is not None]
    levels = sorted({a.density for a in pruned if a.density is not None}, reverse=True)
    dense = next(a for a in results.arms if a.dense)
    steps = next(iter(dense.values[STEPS].values()))
    once = Results((DELTA,), tuple(a for a in results.arms if next(iter(a.values[STEPS].values())) == steps))
    head = ["recipe", *(f"{100 * (1 - level):g} %" for level in levels), "trainings"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    cells: dict[str, dict[float, Arm]] = {}
    for own in pruned:
        cells.setdefault(own.recipe, {})[own.density or 0.0] = own

    def score(recipe: str) -> float:
        return -sum(stat(a.values[DELTA].values()).mean for a in cells[recipe].values())

    for recipe in sorted(cells, key=score):
        row = [recipe]
        for level in levels:
            own = cells[recipe].get(level)
            if own is None:
                row.append("")
                continue
            found = stat(own.values[DELTA].values())
            said = f"{found.mean:+.1f}" + ("" if found.margin is None else f" ± {found.margin:.1f}")
            mark = {"best": "**", "tied": "*", "": ""}[once.rank(own, DELTA)]
            few = "" if len(own.seeds) == len(dense.seeds) else f" (seeds: {len(own.seeds)})"
            row.append(f"{mark}{said}{mark}{few}")
        trained = next(iter(next(iter(cells[recipe].values())).values[STEPS].values()))
        lines.append("| " + " | ".join([*row, f"{trained / steps:g}"]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Reads, joins, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="results.json of a comparison")
    parser.add_argument("--out", type=Path, required=True, help="of the table and the figure, without suffix")
    options = parser.parse_args()
    results = join(options.files)
    options.out.with_suffix(".md").write_text(table(results) + "\n", encoding="utf-8")
    options.out.with_suffix(".svg").write_text(standalone(curve(results)), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
