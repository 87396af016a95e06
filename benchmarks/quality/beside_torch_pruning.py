"""The same trained network, the same budget of multiply-accumulates, the same fine-tuning: ours beside Torch-Pruning.

    python benchmarks/quality/beside_torch_pruning.py RUN [--steps 300] [--shares 0.5] [--out runs/beside_torch_pruning]

RUN is a finished dense run. Torch-Pruning cuts channels over the whole network (global, isomorphic groups, its Taylor or magnitude score,
scored anew at each of its steps) until the budget is met, then the network is trained on; ``secateur.prune`` spends the same steps in
its rounds and after them. Metrics are of the test split, ΔT against RUN. What is finished is not done again. Writes
docs/results/beside_torch_pruning.json and .md.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import torch_pruning as tp
from torch import nn

from nyuv2_small import write
from secateur import AdaptiveWeighting, Budget, Dense, Problem, delta_t, evaluate, fit, load, prune
from secateur.deployment.bench import machine, versions
from secateur.measures import count_macs, higher_is_better
from secateur.problem import example, one
from secateur.runs import RunFolder, read_problem
from secateur.training import adam

LR, BATCHES, STEPS = 3e-4, 16, 400  # steps that Torch-Pruning would take to nothing
IMPORTANCE = {"taylor": tp.importance.GroupTaylorImportance, "magnitude": tp.importance.GroupMagnitudeImportance}  # fmt: skip
TUNED: dict[str, Any] = {"optimizer": adam(LR), "seed": 0, "progress": False}


def macs(model: nn.Module, x: Any) -> float:
    """Multiply-accumulates of a forward pass."""
    return float(sum(count_macs(model, x).values()))


def slopes(problem: Problem, model: nn.Module) -> None:
    """Gradients of the tasks' losses, each as a share of itself, over some batches: what its Taylor score reads."""
    model.zero_grad()
    for (x, targets), _ in zip(problem.train, range(BATCHES), strict=False):
        found = replace(problem, model=model).predict(x, targets)
        losses = [cast(Any, problem.tasks[task].loss)(p, targets[task]) for task, p in found.items()]
        cast(Any, sum(loss / loss.detach().abs() for loss in losses)).backward()


def theirs(problem: Problem, share: float, score: str, steps: int) -> nn.Module:
    """Torch-Pruning's network."""
    model, x = copy.deepcopy(problem.model), cast(Any, one(example(problem)))
    outputs = [m for n, m in model.named_modules() if n.endswith(".6")]  # the last layers of the heads
    pruner = tp.pruner.BasePruner(
        model, x, IMPORTANCE[score](), global_pruning=True, isomorphic=True, pruning_ratio=1.0,
        iterative_steps=STEPS, ignored_layers=outputs,
    )  # fmt: skip
    most = share * macs(problem.model, x)
    for number in range(STEPS):
        if macs(model.eval(), x) <= most:
            break
        if number % 20 == 0 and score == "taylor":
            slopes(problem, model)
        pruner.step()
    model.zero_grad()
    if steps:
        fit(replace(problem, model=model), Dense(), AdaptiveWeighting(), steps=steps, **TUNED)
    return model


def ours(problem: Problem, share: float, score: Any, steps: int) -> nn.Module:
    """``secateur.prune``."""
    return prune(problem, Budget(macs=share), score=score, steps=steps, weighting=AdaptiveWeighting(), **TUNED)  # fmt: skip


WAYS: dict[str, Callable[[Problem, float, str, int], nn.Module]] = {"secateur": ours, "Torch-Pruning": theirs}


def table(raw: dict[str, Any]) -> str:
    """A row for each network."""
    tasks = [task for task in raw["rows"][0]["delta_t"] if task != "mean"]
    heads = ["multiply-accumulates", "by", "score", "steps of training", "parameters", "ΔT (%)"]
    heads += [f"ΔT {task}" for task in tasks]
    lines = ["| " + " | ".join(heads) + " |", "| ---: | --- | --- |" + " ---: |" * (len(heads) - 3)]
    for row in sorted(raw["rows"], key=lambda row: (-row["share"], -row["steps"], row["by"], row["score"])):
        cells = [f"{row['macs']:.3f}", row["by"], row["score"], str(row["steps"]), f"{row['parameters'] / 1e3:.0f} k"]  # fmt: skip
        cells += [f"{row['delta_t'][key]:+.1f}" for key in ("mean", *tasks)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Prunes and trains what is missing, then writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of the dense run")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5])
    parser.add_argument("--out", type=Path, default=Path("runs/beside_torch_pruning"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    problem, data = read_problem(RunFolder(options.run))
    load(problem.model, RunFolder(options.run).weights)
    better, x = higher_is_better(problem.tasks), one(example(problem))
    dense = evaluate(Problem(problem.model, data.tasks, data.train, data.val, data.test), "test")
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for steps in (options.steps, 0):
        for share in options.shares:
            for by, way in WAYS.items():
                for score in IMPORTANCE:
                    file = options.out / f"{by}-{score}-{share:g}-{steps}.json"
                    if not file.exists():
                        model = way(problem, share, score, steps)
                        tasks = evaluate(Problem(model, data.tasks, data.train, data.val, data.test), "test")
                        gain = delta_t(tasks, dense, better)
                        row: dict[str, Any] = {"share": share, "by": by, "score": score, "steps": steps, "seed": 0}  # fmt: skip
                        row |= {"macs": macs(model, x) / macs(problem.model, x), "tasks": tasks}
                        row |= {"parameters": sum(p.numel() for p in model.parameters())}
                        row |= {"delta_t": {"mean": gain.overall, **gain.tasks}}
                        file.write_text(json.dumps(row, indent=1), encoding="utf-8")
                    rows.append(json.loads(file.read_text(encoding="utf-8")))
    raw = {
        "command": f"python benchmarks/quality/beside_torch_pruning.py RUN --steps {options.steps} --shares {' '.join(map(str, options.shares))}"
    }
    raw |= {
        "hardware": machine(),
        "dense": dense,
        "versions": versions(("torch", "torch-pruning", "secateur")),
        "rows": rows,
    }  # pyright: ignore[reportArgumentType]
    write("beside_torch_pruning", raw, table(raw))


if __name__ == "__main__":
    main()
