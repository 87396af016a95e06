"""From a trained network to budgets of time: asked, predicted and measured, each task's metrics, and the same architecture from random weights.

    python benchmarks/quality/budgets.py --root data/nyuv2_160x120 --out runs/budgets [--cases deeplab ...] [--dense RUN]

Trains a dense network for each case (or takes that of a run, as trained longer on a GPU), prunes it to shares of its time in each engine (``secateur prune``, a family in one run), and trains the
architectures that came out (of one engine) from random weights for as many steps as dense training and pruning took together. What is finished is
not done again. Measures time, so nothing else may run. Writes docs/results/budgets.json and .md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric

from secateur import AdaptiveWeighting, Dense, Problem, delta_t, evaluate, fit, load
from secateur.runs import RunFolder, read_problem

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
COMMON = ["--batch", "16", "--precision", "bf16-mixed", "--device", "cpu", "--seed", "0"]
CASES: dict[str, dict[str, Any]] = {
    "deeplab": {
        "train": ["--model.width", "0.125", "--size", "60x80", "--steps", "1200", *COMMON],
        "shares": (0.5, 0.25, 0.125),
        "engines": ("onnxruntime", "openvino"),
        "fresh": (0.5, 0.25, 0.125),
        "prune": ["--steps", "600", "--size", "240x320"],
    },
    "deeplab_wide": {
        "train": ["--model.width", "0.25", "--size", "60x80", "--steps", "3000", *COMMON],
        "shares": (0.5, 0.25),
        "engines": ("openvino",),
        "fresh": (0.25,),
        "prune": ["--steps", "600", "--size", "240x320"],
    },
    "mobilenet": {
        "train": ["--model", "mobilenetv2_aspp", "--model.head_width", "0.0625", "--size", "120x160", "--steps", "400", *COMMON],
        "shares": (0.5, 0.25),
        "engines": ("onnxruntime",),
        "fresh": (0.5, 0.25),
        "prune": ["--steps", "200"],
    },
}  # fmt: skip


def secateur(*words: str) -> str | None:
    """Runs a command of ours; what it says where a budget cannot be met."""
    done = subprocess.run([sys.executable, "-m", "secateur", *words], stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    refused = [line for line in done.stderr.splitlines() if "the budget cannot be met" in line]
    if done.returncode and not refused:
        raise SystemExit(done.returncode)
    return refused[0].removeprefix("error: ") if done.returncode else None


def trained(folder: Path, case: str, root: str) -> Path:
    """The dense network of a case."""
    out = folder / case / "dense"
    if not (out / "report.json").exists():
        words = ["dense", "--data", "nyuv2", "--data.root", root, "--out", str(out), *CASES[case]["train"]]
        if case == "mobilenet":
            weights = Path(root).parent / "mobilenet_v2_imagenet" / "mobilenet_v2_imagenet.pth"
            words += ["--model.weights", str(weights)]
        secateur("train", *words)
    return out


def pruned(folder: Path, case: str, engine: str, dense: Path) -> tuple[dict[float, Path], dict[float, str]]:
    """Share to the run folder of each network, and those that no network of this shape can have to what was said."""
    shares, out = list(CASES[case]["shares"]), folder / case / engine
    held = out.with_suffix(".refused.json")
    refused = (
        {float(share): said for share, said in json.loads(held.read_text()).items()} if held.exists() else {}
    )
    while True:
        places = {share: out / f"{share:g}x-ms" for share in shares if share not in refused}
        if all((place / "report.json").exists() for place in places.values()):
            return places, refused
        budget = ", ".join(f"{share:g}x ms" for share in places)
        words = [str(dense), "--budget", budget, "--engine", engine, *CASES[case]["prune"]]
        if (said := secateur("prune", *words, "--out", str(out))) is not None:
            refused[min(places)] = said
            held.write_text(json.dumps(refused, indent=1), encoding="utf-8")


def drawn(place: Path, steps: int, precision: Any, file: Path) -> dict[str, Any]:
    """Test metrics of the same architecture with fresh weights after ``steps``."""
    if file.exists():
        return json.loads(file.read_text())
    problem, data = read_problem(RunFolder(place))
    load(problem.model, RunFolder(place).weights)
    torch.manual_seed(0)
    for module in problem.model.modules():
        if hasattr(module, "reset_parameters"):
            cast(Any, module).reset_parameters()
    began = time.perf_counter()
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    fit(problem, Dense(), AdaptiveWeighting(), steps=steps, seed=0, fabric=fabric, progress=False)
    seconds = time.perf_counter() - began
    tested = Problem(problem.model, data.tasks, data.train, data.val, data.test)
    found = {"tasks": evaluate(tested, "test"), "steps": steps, "seconds": round(seconds, 1)}
    file.write_text(json.dumps(found, indent=1))
    return found


def gains(report: dict[str, Any], tasks: dict[str, Any], dense: dict[str, Any]) -> dict[str, float]:
    """ΔT in percent against the dense network: of each task and, under "mean", of all."""
    made = delta_t(tasks, dense["tasks"], report["higher_is_better"])
    return {"mean": round(made.overall, 2)} | {task: round(value, 2) for task, value in made.tasks.items()}


def measure(folder: Path, case: str, root: str, given: Path | None) -> dict[str, Any]:
    """Everything of a case that docs show."""
    dense = given or trained(folder, case, root)
    config = RunFolder(dense).read_config()
    more = int(CASES[case]["prune"][CASES[case]["prune"].index("--steps") + 1])
    whole = json.loads((dense / "report.json").read_text())
    rows: list[dict[str, Any]] = []
    made = {engine: pruned(folder, case, engine, dense) for engine in CASES[case]["engines"]}
    refused = {engine: said for engine, (_, said) in made.items() if said}
    for engine, (found, _) in made.items():
        for share, place in found.items():
            report = json.loads((place / "report.json").read_text())
            budget = json.loads((place / "budget.json").read_text())
            fresh = None
            if engine == CASES[case]["engines"][0] and share in CASES[case]["fresh"]:
                fresh = drawn(place, config["steps"] + more, config["precision"], place / "fresh.json")
            rows.append(
                {
                    "engine": engine,
                    "share": share,
                    "asked_ms": budget["limits"]["ms"],
                    "predicted_ms": budget["predicted"]["ms"],
                    "first_ms": budget["first"]["ms"],
                    "measured_ms": budget["costs"]["ms"],
                    "dense_ms": budget["dense"]["ms"],
                    "seconds": report["train_seconds"],
                    "parameters": report["params"]["total"],
                    "tasks": report["tasks"],
                    "delta_t": gains(whole, report["tasks"], whole),
                    "fresh": fresh and {**fresh, "delta_t": gains(whole, fresh["tasks"], whole)},
                    "command": report["command"],
                }
            )
    keys = ("command", "seed", "hardware", "versions", "tasks", "higher_is_better", "train_seconds", "params")
    return {"dense": {key: whole.get(key) for key in keys}, "rows": rows, "refused": refused}


def text(raw: dict[str, Any]) -> str:
    """A row for each budget."""
    lines = [
        "| network | engine | asked | predicted | measured | parameters | ΔT | ΔT by task | same architecture from random weights: ΔT | seconds |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for case, made in raw["cases"].items():
        for row in made["rows"]:
            tasks = ", ".join(
                f"{task} {value:+.1f}" for task, value in row["delta_t"].items() if task != "mean"
            )
            fresh = f"{row['fresh']['delta_t']['mean']:+.1f}" if row["fresh"] else ""
            share = made["dense"]["params"]["total"]
            lines.append(
                f"| {case} | {row['engine']} | {row['asked_ms']:.2f} ms ({row['share']:g}) | {row['predicted_ms']:.2f} ms | "
                f"{row['measured_ms']:.2f} ms ({row['dense_ms'] / row['measured_ms']:.1f}x) | {row['parameters'] / share:.0%} | "
                f"{row['delta_t']['mean']:+.1f} | {tasks} | {fresh} | {row['seconds']:.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Does what is not done yet, then writes what docs show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", default="data/nyuv2_160x120")
    parser.add_argument("--out", type=Path, default=Path("runs/budgets"))
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--train", action="store_true", help="train the dense networks and end")
    parser.add_argument("--dense", type=Path, help="run folder of the dense network of one case")
    options = parser.parse_args()
    if options.dense and len(options.cases) != 1:
        parser.error("--dense is of one case; name it with --cases.")
    if options.train:
        for case in options.cases:
            trained(options.out, case, options.root)
        return
    path = RESULTS / "budgets.json"
    raw: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"cases": {}}
    raw["command"] = "python benchmarks/quality/budgets.py --root data/nyuv2_160x120 --out runs/budgets"
    for case in options.cases:
        raw["cases"][case] = measure(options.out, case, options.root, options.dense)
        path.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
        (RESULTS / "budgets.md").write_text(text(raw) + "\n", encoding="utf-8")
    print(text(raw))


if __name__ == "__main__":
    main()
