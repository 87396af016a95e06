"""Finished runs of `secateur compare` side by side on the validation split, by which forms of a method are chosen.

    python benchmarks/quality/on_validation.py runs/steps6000 --first adapmtl-d0.1 --name steps6000_validation

A row for each recipe, density and setting: ΔT against the dense run of the same seed, and the p value of a paired t-test of it against
``--first`` over the seeds in common, corrected by Holm for the rows. A run's own last validation counts; where it has none (`--validate_every`),
its weights are evaluated. Rows and seeds that the file of results holds already stay in it where no folder has them. The test split plays no
part here.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nyuv2_small import RESULTS, write
from secateur.measures import Stat, corrected, delta_t, p_value, stat
from secateur.runs import evaluate_run

SAME = re.compile(r"--((?:steps|data|model|size|batch|precision)\b(?!\.tasks)[^\s=]*)[ =]([^\s-]\S*)")
WANTED = (("seg", "miou", 4), ("normal", "mean", 2), ("depth", "abs", 4))


def validated(run: Path) -> dict[str, Any]:
    """Its metrics on the validation split, and how it came about."""
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    own = [row["val"] for row in rows if "val" in row]
    about = {key: report[key] for key in ("command", "hardware", "versions", "higher_is_better")}
    return {**about, "val": own[-1] if own else evaluate_run(run, "val", device="cpu")}


def rows_of(folders: Iterable[Path]) -> dict[str, dict[int, dict[str, Any]]]:
    """Row to seed to what :func:`validated` found; what the tasks are and hashes of values are left out of the name."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for report in sorted(file for folder in folders for file in folder.glob("*/report.json")):
        name, seed = re.fullmatch(r"(.*)-s(\d+)", report.parent.name).groups()
        found.setdefault(re.sub(r"-[a-z]+(\+[a-z]+)+|~[0-9a-f]{8}", "", name), {})[int(seed)] = validated(
            report.parent
        )
    return found


def held(path: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """What a file of results has, as :func:`rows_of`; nothing if there is none."""
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else {}
    return {name: {int(seed): run for seed, run in seeds.items()} for name, seeds in runs.items()}


def deltas(found: Mapping[str, Mapping[int, dict[str, Any]]]) -> dict[str, dict[str, dict[int, float]]]:
    """Row to ``mean`` or task to seed to ΔT (AdapMTL, Eq. 7) in percent, of seeds that have a dense run."""
    made: dict[str, dict[str, dict[int, float]]] = {}
    for name, runs in found.items():
        for seed in sorted(runs.keys() & found["dense"].keys()):
            dense = found["dense"][seed]
            delta = delta_t(runs[seed]["val"], dense["val"], dense["higher_is_better"])
            for key, value in {"mean": delta.overall, **delta.tasks}.items():
                made.setdefault(name, {}).setdefault(key, {})[seed] = value
    return made


def table(found: Mapping[str, Mapping[int, dict[str, Any]]], first: str) -> str:
    """The best mean first, as Markdown."""
    delta = deltas(found)
    tests = corrected({n: p_value(d["mean"], delta[first]["mean"]) for n, d in delta.items() if n not in (first, "dense")})  # fmt: skip
    keys = list(delta["dense"])
    heads = ["row", *("ΔT" if key == "mean" else f"ΔT {key}" for key in keys), "p", "seg mIoU ↑", "normal mean ↓", "depth abs ↓", "seeds"]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for name in sorted(delta, key=lambda name: -stat(delta[name]["mean"].values()).mean):
        of_zero = name == "dense"
        cells = [
            name,
            *("reference" if of_zero else _points(stat(delta[name][key].values())) for key in keys),
        ]
        p = tests.get(name)
        cells.append("" if p is None else f"{p:.3f}")
        for task, metric, places in WANTED:
            values = [found[name][seed]["val"][task][metric] for seed in delta[name]["mean"]]
            cells.append(f"{stat(values).mean:.{places}f}")
        lines.append("| " + " | ".join([*cells, str(len(delta[name]["mean"]))]) + " |")
    return "\n".join(lines)


def _points(found: Stat) -> str:
    return f"{found.mean:+.1f}" + ("" if found.margin is None else f" ± {found.margin:.1f}")


def main() -> None:
    """Collects, tests and writes."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "folders", type=Path, nargs="+", help="of comparisons; runs of the same row and seed count once"
    )
    options.add_argument("--first", default="adapmtl-d0.1", help="row that the others are tested against")
    options.add_argument("--name", default="on_validation", help="of the file of results")
    asked = options.parse_args()
    found = held(RESULTS / f"{asked.name}.json")
    for name, seeds in rows_of(asked.folders).items():
        found[name] = dict(sorted({**found.get(name, {}), **seeds}.items()))
    commands = [run["command"] for seeds in found.values() for run in seeds.values()]
    settings = {frozenset(SAME.findall(command)) for command in commands}
    if len(settings) > 1:
        raise SystemExit(
            f"runs of {len(settings)} settings, or of another than {asked.name}.json holds: {settings}"
        )
    write(
        asked.name, {"first": asked.first, "runs": found, "delta_t": deltas(found)}, table(found, asked.first)
    )


if __name__ == "__main__":
    main()
