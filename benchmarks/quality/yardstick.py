"""How well the dense network of our tables can be trained: schedule, rate, decay and augmentation, on the validation split.

    python benchmarks/quality/yardstick.py --root data/nyuv2_160x120 --out runs/yardstick

The setting of benchmarks/quality/nyuv2_small.py (1,200 steps, about four minutes a run on one core). Trains what is missing, seed by
seed, then writes docs/results/yardstick.json, .md and, of the validations on the way, .svg. Finished runs of other lengths are shown
beside them, with their validations on the way where they have some:

    python benchmarks/quality/yardstick.py --root data/nyuv2_160x120 --out runs/yardstick --beside runs/steps6000/dense-s0 runs/plain6000

The test split plays no part here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nyuv2_small import RESULTS, SMALL, arguments, read, spread, train, write
from secateur.measures import delta_t
from secateur.runs import evaluate_run
from secateur.runs.folder import RunFolder

BASE = "Adam, 0.001, cosine (what the tables have)"
ARMS = {
    BASE: [],
    "staircase": ["--decay", "staircase"],
    "constant rate": ["--decay", "constant"],
    "rate 0.003": ["--lr", "0.003"],
    "weight decay 0.0001": ["--weight_decay", "0.0001"],
    "no augmentation": ["--data.augment", "false"],
}
SETTING = [*SMALL[:-1], "100"]  # steps between validations


def folder(arm: str) -> str:
    """Of its runs, without the seed."""
    return "base" if arm == BASE else arm.replace(" ", "_")


def course(path: Path) -> list[dict[str, Any]]:
    """The rows of a run that have a validation, and its last row."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "val" in row] + [[row for row in rows if "loss" in row][-1]]


def measured(out: Path, seeds: range) -> dict[str, list[dict[str, Any]]]:
    """Per arm and seed: ΔT of every validation against the last one of the base of that seed, and the losses at the end."""
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for seed in seeds:
        reference = read(out / f"{folder(BASE)}-{seed}")
        for arm in ARMS:
            path = out / f"{folder(arm)}-{seed}"
            report, (*validations, last) = read(path), course(path)
            deltas = [
                delta_t(row["val"], reference["val"], report["higher_is_better"]) for row in validations
            ]
            about = {key: report[key] for key in ("seed", "command", "hardware", "versions", "val")}
            at = [
                {"step": row["step"], "delta_t": delta.overall, "tasks": delta.tasks}
                for row, delta in zip(validations, deltas, strict=True)
            ]
            found[arm].append({**about, "course": at, "loss": last["loss"]})
    return found


def length(path: Path) -> str:
    """What a run of another length is called."""
    config = RunFolder(path).read_config()
    return f"{config['steps']:,} steps" + ("" if config["data"]["augment"] else ", no augmentation")


def beside(path: Path) -> dict[str, Any]:
    """A finished run of another length, evaluated on the validation split."""
    report = json.loads((path / "report.json").read_text(encoding="utf-8"))
    *rows, last = course(path)
    about = {key: report[key] for key in ("seed", "command", "hardware", "versions")}
    return {**about, "val": evaluate_run(path, "val", device="cpu"), "course": rows, "loss": last["loss"]}


def metrics(runs: dict[str, dict[str, Any]]) -> str:
    """Validation metrics of the runs of other lengths, as Markdown."""
    wanted = (("seg", "miou", 4), ("normal", "mean", 2), ("depth", "abs", 4))
    lines = ["| dense network | seg mIoU ↑ | normal mean ↓ | depth abs ↓ | best on the way |", "| --- | ---: | ---: | ---: | --- |"]  # fmt: skip
    for name, run in runs.items():
        cells = [f"{run['val'][task][metric]:.{digits}f}" for task, metric, digits in wanted]
        way = []
        for task, metric, digits in wanted if run["course"] else ():
            best = (max if metric == "miou" else min)(run["course"], key=lambda row: row["val"][task][metric])
            way.append(f"{task} {best['val'][task][metric]:.{digits}f} at {best['step']:,}")
        lines.append("| " + " | ".join([name, *cells, ", ".join(way)]) + " |")
    return "\n".join(lines)


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """The end of each arm, the best first, as Markdown."""
    tasks = list(found[BASE][0]["loss"])
    heads = [
        "dense network",
        "ΔT (%)",
        *(f"ΔT {t}" for t in tasks),
        "best at step",
        *(f"training loss {t}" for t in tasks),
        "seeds",
    ]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for arm in sorted(found, key=lambda arm: -sum(run["course"][-1]["delta_t"] for run in found[arm])):
        runs = found[arm]
        ends = [run["course"][-1] for run in runs]
        deltas = [[end["delta_t"] for end in ends], *([end["tasks"][task] for end in ends] for task in tasks)]
        cells = [arm, *("reference" if arm == BASE else shown(values, 1, "+") for values in deltas)]
        cells.append(
            ", ".join(str(max(run["course"], key=lambda row: row["delta_t"])["step"]) for run in runs)
        )
        cells += [shown([run["loss"][task] for run in runs], 3) for task in tasks]
        lines.append("| " + " | ".join([*cells, str(len(runs))]) + " |")
    return "\n".join(lines)


def shown(values: list[float], places: int, sign: str = "") -> str:
    """Mean and standard deviation, or the one value."""
    return spread(values, places) if len(values) > 1 else f"{values[0]:{sign}.{places}f}"


def figure(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """ΔT on the validation split over the steps, means over the seeds."""
    from matplotlib import pyplot

    drawn, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    for arm, runs in found.items():
        steps = [row["step"] for row in runs[0]["course"]]
        means = [sum(run["course"][i]["delta_t"] for run in runs) / len(runs) for i in range(len(steps))]
        axes.plot(steps, means, label=arm, lw=2 if arm == BASE else 1)
    axes.set(xlabel="steps", ylabel="ΔT on validation (%)", ylim=(-60, 10))
    axes.axhline(0, color="grey", lw=0.5)
    axes.legend(fontsize="small")
    drawn.savefig(path, metadata={"Date": None})


def main() -> None:
    """Trains, then writes the figures."""
    parser = arguments(__doc__, "runs/yardstick", "NYU-v2")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--beside", nargs="+", type=Path, default=[], help="finished runs of other lengths")
    options = parser.parse_args()
    for seed in range(options.seeds):
        for arm, words in ARMS.items():
            train(options.root, options.out, folder(arm), ["dense", *words], seed, SETTING)
    found = measured(options.out, range(options.seeds))
    others = {length(path): beside(path) for path in options.beside}
    text = table(found) + ("\n\n" + metrics(others) if others else "")
    write("yardstick", {"arms": found, "beside": others}, text)
    figure(found, RESULTS / "yardstick.svg")


if __name__ == "__main__":
    main()
