"""Rows of tables of docs/measured/ from what `secateur compare` wrote: a few columns, also over an option.

    python benchmarks/quality/table1_rows.py runs/mended/results.json docs/results/table1_mended.json
    python benchmarks/quality/table1_rows.py docs/results/steps6000.json runs/six/results.json runs/seven docs/results/steps6000.json --first adapmtl

Copies the figures to the last file and writes the table beside it. Of several sources, sittings of one setting, the seeds are joined: each ΔT is against
the dense network of the same seed and sitting. A source that is a folder has what `secateur train` finished in it; where no comparison gave a run its ΔT,
it is against the dense figures of the same seed that the other sources hold. ``--first`` adds the p value of a paired t-test of each recipe against that
one over the seeds in common, and the same corrected by Holm for how many they are at that density. ``--only`` leaves out all but dense and the recipes named.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from secateur.measures import corrected, delta_t, p_value, stat

COLUMNS = {
    ("ΔT", "mean"): "ΔT", ("ΔT", "seg"): "ΔT seg", ("ΔT", "normal"): "ΔT normal", ("ΔT", "depth"): "ΔT depth",
    ("seg", "miou"): "seg mIoU ↑", ("normal", "mean"): "normal mean ↓", ("depth", "abs"): "depth abs ↓",
}  # fmt: skip
DELTA = ("ΔT", "mean")
DIGITS = {"seg mIoU ↑": 4, "normal mean ↓": 2, "depth abs ↓": 4}


SITTING = ("--seeds", "--seed", "--out", "--jobs", "--workers")  # and what an arm says of itself:
OF_ARM = ("--density", "--method.density", "--data.tasks")
ARM = ("recipe", "density", "tasks", "settings")


def setting(command: str) -> list[str]:
    """What two sittings must have in common: all options but seeds and places, not the recipes."""
    _, *options = re.split(r"\s+(?=--)", command)
    named = [tuple(re.split("[ =]", option, maxsplit=1)) for option in options]
    return sorted(" ".join(option) for option in named if option[0] not in SITTING + OF_ARM)


def read(path: Path) -> dict[str, Any]:
    """What a comparison wrote, or the finished runs of a folder in the same form: the metrics on the test split, without ΔT."""
    if not path.is_dir():
        return json.loads(path.read_text(encoding="utf-8"))
    raw: dict[str, Any] = {"command": [], "hardware": [], "versions": [], "arms": []}
    for file in sorted(path.glob("*/report.json")):
        run = re.fullmatch(r"(\w+?)(?:-d([\d.]+))?-([a-z+]+)-s(\d+)", file.parent.name)
        if run is None:
            raise SystemExit(f"{file.parent} is no run of a recipe, density, tasks and seed alone")
        recipe, density, tasks, seed = run.groups()
        report = json.loads(file.read_text(encoding="utf-8"))
        for key in ("command", "hardware", "versions"):
            raw[key].append(report[key])
        kept = {"overall": report["density"]["overall"], **report["density"]["components"]}
        figures = [
            {"group": task, "name": name, "better": "higher" if report["higher_is_better"][task][name] else "lower", "seeds": {seed: value}}
            for task, metrics in report["tasks"].items() for name, value in metrics.items()
        ] + [{"group": "density", "name": name, "better": "", "seeds": {seed: value}} for name, value in kept.items()]  # fmt: skip
        figures.append(
            {"group": "cost", "name": "steps", "better": "", "seeds": {seed: report["steps_in_all"]}}
        )
        about = {"recipe": recipe, "density": density and float(density), "tasks": tasks.split("+")}
        raw["arms"].append({**about, "dense": report["dense"], "settings": {}, "figures": figures})
    return raw


def add_delta(arm: dict[str, Any], arms: Sequence[dict[str, Any]]) -> None:
    """ΔT of the seeds that have none, against the dense network of the same tasks and seed."""
    alike = [a for a in arms if a["dense"] and a["tasks"] == arm["tasks"] and a["recipe"] != "single-task"]
    dense = next(iter(alike), None)
    held = {(f["group"], f["name"]): f for f in arm["figures"]}
    metrics = [f for f in arm["figures"] if f["group"] in arm["tasks"]]
    if dense is None:
        return
    known = held[DELTA]["seeds"] if DELTA in held else {}
    seeds = {seed for figure in metrics for seed in figure["seeds"]} - known.keys()
    better: dict[str, dict[str, bool]] = {}
    for figure in metrics:
        better.setdefault(figure["group"], {})[figure["name"]] = figure["better"] == "higher"
    for seed in seeds:
        if not (reference := of_seed(dense, seed)):
            raise SystemExit(f"{arm['recipe']} of seed {seed} has no dense network of that seed beside it")
        mean, total = (delta_t(of_seed(arm, seed), reference, better, reduce) for reduce in ("mean", "sum"))
        for name, value in {"mean": mean.overall, "sum": total.overall, **mean.tasks}.items():
            new = {"group": "ΔT", "name": name, "better": "higher", "seeds": {}}
            held.setdefault(("ΔT", name), new)["seeds"][seed] = value if math.isfinite(value) else None
    arm["figures"] = sorted(held.values(), key=lambda f: f["group"] != "ΔT")


def of_seed(arm: dict[str, Any], seed: str) -> dict[str, dict[str, float]]:
    """Task to metric to value; empty where it has not that seed."""
    found: dict[str, dict[str, float]] = {}
    for figure in (f for f in arm["figures"] if f["group"] in arm["tasks"] and seed in f["seeds"]):
        value = figure["seeds"][seed]
        found.setdefault(figure["group"], {})[figure["name"]] = math.nan if value is None else value
    return found


def joined(sources: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One table of several, the figures of an arm with all seeds."""
    first, *others = sources
    if not others and isinstance(first["command"], str):
        return first
    commands = [one for raw in sources for one in _listed(raw["command"])]
    if len({tuple(setting(command)) for command in commands}) > 1:
        raise SystemExit(f"these are not of one setting: {'; '.join(commands)}")
    arms: dict[str, dict[str, Any]] = {}
    for arm in (arm for raw in sources for arm in raw["arms"]):
        into = arms.setdefault(json.dumps([arm.get(key) or None for key in ARM]), {**arm, "figures": []})
        if dead := into.get("dead", {}) | arm.get("dead", {}):
            into["dead"] = dead
        held = {(figure["group"], figure["name"]): figure for figure in into["figures"]}
        for figure in arm["figures"]:
            place = figure["group"], figure["name"]
            before = held[place]["seeds"] if place in held else {}
            if any(before[seed] != figure["seeds"][seed] for seed in before.keys() & figure["seeds"].keys()):
                raise SystemExit(f"{arm['recipe']} has two values of {' '.join(place)} for one seed")
            held[place] = {**figure, "seeds": before | figure["seeds"]}
        into["figures"] = list(held.values())
    for arm in arms.values():
        add_delta(arm, list(arms.values()))
        for figure in arm["figures"]:
            figure["seeds"] = dict(sorted(figure["seeds"].items(), key=lambda item: int(item[0])))
            found = stat(math.nan if value is None else value for value in figure["seeds"].values())
            known = {"mean": found.mean, "sd": found.sd, "margin_95": found.margin}
            figure |= known if math.isfinite(found.mean) else dict.fromkeys(known)
    about = {
        key: [one for raw in sources for one in _listed(raw[key])]
        for key in ("command", "hardware", "versions")
    }
    return {key: _once(values) for key, values in about.items()} | {"arms": list(arms.values())}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _once(values: Sequence[Any]) -> list[Any]:
    return [value for place, value in enumerate(values) if value not in values[:place]]


def called(arm: dict[str, Any], arms: Sequence[dict[str, Any]]) -> str:
    """Its name in a table: of several densities its sparsity too."""
    levels = {other["density"] for other in arms if not other["dense"]}
    level = [] if arm["dense"] or len(levels) == 1 else [f"{100 * (1 - arm['density']):g} %"]
    named = (f"{value} {option}" for option, value in arm.get("settings", {}).items())
    return ", ".join([arm["recipe"], *level, *named])


def tests(arms: Sequence[dict[str, Any]], first: str) -> dict[str, tuple[float | None, float | None]]:
    """Name to the p value against ``first`` at the same density, and the same corrected for how many are tested there."""
    levels: dict[float | None, dict[str, tuple[str, dict[int, float]]]] = {}
    for arm in (arm for arm in arms if not arm["dense"]):
        level = levels.setdefault(arm["density"], {})
        if arm["recipe"] in level:
            raise SystemExit(f"--first: {arm['recipe']} has several settings; give sources that have one")
        figures = {(f["group"], f["name"]): f for f in arm["figures"]}
        if DELTA in figures:
            seeds = figures[DELTA]["seeds"].items()
            values = {int(seed): math.nan if value is None else value for seed, value in seeds}
            level[arm["recipe"]] = called(arm, arms), values
    if all(first not in level for level in levels.values()):
        others = {recipe for level in levels.values() for recipe in level}
        raise SystemExit(f"--first {first} has no ΔT here: {', '.join(sorted(others))} have")
    told: dict[str, tuple[float | None, float | None]] = {}
    for level in levels.values():
        _, own = level.pop(first, ("", {}))
        found = {name: p_value(own, values) for name, values in level.values()}
        holm = corrected(found)
        told |= {name: (p, holm[name]) for name, p in found.items()}
    return told


def row(arm: dict[str, Any], name: str) -> str:
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
    return f"| {name} | {' | '.join(cells)} | {seeds} |"


def main() -> None:
    """Copies and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "source", type=Path, nargs="+", help="file of a comparison, or folder of finished runs"
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", help="recipe that the others are tested against")
    parser.add_argument("--only", nargs="+", help="the recipes to keep beside dense", default=())
    options = parser.parse_args()
    raw = joined([read(source) for source in options.source])
    if options.only:
        raw["arms"] = [arm for arm in raw["arms"] if arm["dense"] or arm["recipe"] in options.only]
    raw["arms"].sort(key=lambda arm: (not arm["dense"], -(arm["density"] or 1.0)))  # the densest first
    lines = [
        f"| recipe | {' | '.join(COLUMNS.values())} | seeds |",
        f"| --- |{' ---: |' * (len(COLUMNS) + 1)}",
    ]
    lines += [row(arm, called(arm, raw["arms"])) for arm in raw["arms"]]
    if options.first:
        found = tests(raw["arms"], options.first)
        raw["p"] = {"against": options.first, "raw": {}, "holm": {}}
        for name, (plain, holm) in found.items():
            raw["p"]["raw"][name], raw["p"]["holm"][name] = plain, holm
        told = {name: ["" if p is None else f"{p:.3f}" for p in both] for name, both in found.items()}
        cells = [
            ["p", "p (Holm)"],
            ["---:", "---:"],
            *(told.get(called(arm, raw["arms"]), ["", ""]) for arm in raw["arms"]),
        ]
        lines = [f"{line} {' | '.join(both)} |" for line, both in zip(lines, cells, strict=True)]
    options.out.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    options.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
