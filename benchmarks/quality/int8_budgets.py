"""A trained network, and what was pruned of it to a share of its time, in fp32, bf16 and int8: time and each task.

    python benchmarks/quality/int8_budgets.py RUN PRUNED [PRUNED ...] [--name NAME]

RUN is a dense run, PRUNED are runs of ``secateur prune``, or others to set beside it. Metrics are those of the files themselves in OpenVINO, made at the size of training and
calibrated on the training batches; times of files made at 240x320, side by side in processes of their own, one thread. Writes
docs/results/NAME.json and .md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from nyuv2_small import write
from secateur import delta_t, evaluate, export
from secateur.deployment.bench import machine, versions
from secateur.deployment.bench.process import Worker
from secateur.deployment.engines import load_engine
from secateur.measures import higher_is_better
from secateur.problem import Problem, example, one
from secateur.runs import RunFolder, read_problem
from secateur.runs.exported import Exported
from secateur.storage import load

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speed"))
from sparse_speed import ratio, timed  # pyright: ignore[reportMissingImports]

WAYS = ("f32", "bf16", "int8")
ROUNDS, TIMED = 12, (240, 320)
Way = Literal["f32", "bf16"]


def judged(run: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Test metrics of the run's files by precision."""
    problem, data = read_problem(RunFolder(run))
    load(problem.model, RunFolder(run).weights)
    model, batch = problem.model.eval(), one(example(problem))
    plain = export(model, batch, folder / "f32.xml")
    how: dict[str, Any] = {"quantize": "int8", "calibrate": problem, "largest_error": float("inf")}
    small = export(model, batch, folder / "int8.xml", **how)  # its metrics judge it
    found: dict[str, dict[str, Any]] = {}
    for way in WAYS:
        loaded = Exported(small if way == "int8" else plain)
        precision: Way = "bf16" if way == "bf16" else "f32"
        loaded.engine = load_engine(loaded.path, threads=1, precision=precision)
        found[way] = evaluate(Problem(loaded, data.tasks, data.train, data.val, data.test), "test")
    return found


def timed_files(run: Path, folder: Path, x: torch.Tensor) -> dict[str, Path]:
    """The file of each precision that is timed."""
    problem, _ = read_problem(RunFolder(run))
    load(problem.model, RunFolder(run).weights)
    model = problem.model.eval()
    plain = export(model, x, folder / "timed-f32.xml", dynamic=False)
    how: dict[str, Any] = {"quantize": "int8", "calibrate": [x], "largest_error": float("inf")}
    return {"f32": plain, "bf16": plain, "int8": export(model, x, folder / "timed-int8.xml", dynamic=False, **how)}  # fmt: skip


def table(raw: dict[str, Any]) -> str:
    """A row for each network and precision."""
    tasks = raw["tasks"]
    lines = ["| network | precision | ms | against dense fp32 | ΔT (%) | " + " | ".join(f"ΔT {t}" for t in tasks) + " |"]  # fmt: skip
    lines.append("| --- | --- |" + " ---: |" * (3 + len(tasks)))
    for row in raw["rows"]:
        against = row["against"]
        cells = [row["network"], row["precision"], f"{row['ms']:.2f}", f"{against[0]:.1f}x ({against[1]:.1f} to {against[2]:.1f})"]  # fmt: skip
        cells += [f"{row['delta_t'][key]:+.1f}" for key in ("mean", *tasks)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Exports, judges and times all, then writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="the dense run, then those pruned of it")
    parser.add_argument("--out", type=Path, default=Path("runs/int8_budgets"), help="keeps the metrics")
    parser.add_argument("--name", default="int8_budgets", help="of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.randn(1, 3, *TIMED, generator=torch.Generator().manual_seed(0))
    names = ["dense", *(run.name for run in options.runs[1:])]
    problem, _ = read_problem(RunFolder(options.runs[0]))
    better = higher_is_better(problem.tasks)
    metrics: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place:
        inputs = Path(place) / "x.npz"
        np.savez(inputs, x.numpy())
        workers: dict[str, Any] = {}
        for name, run in zip(names, options.runs, strict=True):
            folder = Path(place) / name
            folder.mkdir()
            kept = options.out / f"{name}.json"
            if not kept.exists():
                options.out.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(judged(run, folder)), encoding="utf-8")
            metrics[name], paths = json.loads(kept.read_text(encoding="utf-8")), timed_files(run, folder, x)
            for way in WAYS:
                how = (paths[way], inputs, 1, "bf16" if way == "bf16" else "f32", folder / f"{way}.log")
                workers[f"{name} {way}"] = lambda how=how: Worker(*how)
        samples, _ = timed(workers, ROUNDS)
    rows: list[dict[str, Any]] = []
    for name in names:
        for way in WAYS:
            own = samples[f"{name} {way}"]
            gain = delta_t(metrics[name][way], metrics["dense"]["f32"], better)
            row: dict[str, Any] = {"network": name, "precision": way, "ms": float(np.nanmedian(own))}
            row |= {"against": ratio(samples["dense f32"], own), "tasks": metrics[name][way]}
            rows.append(row | {"delta_t": {"mean": gain.overall, **gain.tasks}})
    named = [] if options.name == "int8_budgets" else ["--name", options.name]
    words = ["python benchmarks/quality/int8_budgets.py", *map(str, options.runs), *named]
    raw: dict[str, Any] = {"command": " ".join(words)}
    raw |= {"machine": machine(), "versions": versions(), "rounds": ROUNDS, "tasks": list(problem.tasks), "rows": rows}  # fmt: skip
    for run in options.runs[1:]:
        if not (run / "budget.json").exists():
            continue
        raw[run.name] = json.loads((run / "budget.json").read_text(encoding="utf-8"))["limits"]
    write(options.name, raw, table(raw))


if __name__ == "__main__":
    main()
