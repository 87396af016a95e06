"""How well time is predicted from a table of layers: whole networks cut at random to shares of their time, predicted and measured.

    python benchmarks/speed/latency_model.py [--networks ...] [--engines onnxruntime openvino] [--shares 0.5 0.25] [--repeats 3]

Each prediction is that of ``prune`` before anything is pruned: the table's sum, on the line through what the dense network and the smallest
took; then once more, after :meth:`CostModel.correct` was told what the first cut network took, as in a round of ``prune``. Cut networks are timed side by side with
the dense one, round by round, and their milliseconds are its first time over the median ratio: what slows the machine for some minutes is no error of the
model. Channels are drawn at random and nothing is trained. Nothing else may run. Adds to docs/results/latency_model.json and writes docs/results/latency_model.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from secateur import Budget, Problem, Task, compact
from secateur.budget.choose import OutOfReachError, choose, nearest_choice
from secateur.budget.cost_model import CostModel
from secateur.budget.latency import Latency
from secateur.budget.measured import Costing
from secateur.budget.reach import check_reach
from secateur.deployment.bench import LayerEngine, bench
from secateur.deployment.bench.machine import machine, versions
from secateur.pruning import Groups
from secateur.shrinking import problem_groups
from secateur.zoo import deeplab_resnet34, mobilenetv2_aspp
from sparse_networks import Plain

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
HEADS = {"seg": 13, "depth": 1}


def pair(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions."""
    first, second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
    return nn.Sequential(
        first, nn.BatchNorm2d(outputs), nn.ReLU(), second, nn.BatchNorm2d(outputs), nn.ReLU()
    )


class UNet(nn.Module):
    """Four levels, concatenated across, two heads."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = [width * 2**level for level in range(4)]
        self.down = nn.ModuleList(pair(i, o) for i, o in zip([3, *sizes], sizes, strict=False))
        self.up = nn.ModuleList(
            pair(below + beside, beside) for below, beside in zip(sizes[:0:-1], sizes[-2::-1], strict=True)
        )
        self.heads = nn.ModuleDict({task: nn.Conv2d(width, count, 1) for task, count in HEADS.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """``{task: map}`` at the size of the input, (N, 3, H, W)."""
        across = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            across.append(x)
        x = across.pop()
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), across.pop()], 1))
        return {task: head(x) for task, head in self.heads.items()}


def vit() -> nn.Module:
    """Eight blocks of 384."""
    made = VisionTransformer(160, 16, 8, 8, 384, 1536, num_classes=13)
    for parameter in made.heads.parameters():  # zeros at first: nothing would be alive
        nn.init.normal_(parameter, 0, 0.02)
    return Plain(made)


NETWORKS: dict[str, Callable[[], tuple[nn.Module, tuple[int, int]]]] = {
    "deeplab_resnet34, width 0.5": lambda: (deeplab_resnet34(HEADS, 0.5), (120, 160)),
    "mobilenetv2_aspp, heads 0.0625": lambda: (mobilenetv2_aspp(HEADS, head_width=0.0625), (120, 160)),
    "vit, 8 blocks of 384": lambda: (vit(), (160, 160)),
    "u-net, width 32": lambda: (UNet(), (128, 160)),
}


def problem_of(model: nn.Module, size: tuple[int, int]) -> Problem:
    """The network on random inputs; its losses are of no meaning."""
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model.eval()(x)
    tasks = {task: Task(lambda y, t: F.mse_loss(y, t)) for task in found}
    return Problem(model, tasks, [(x, {task: torch.zeros_like(y) for task, y in found.items()})])


@torch.no_grad()
def cut(problem: Problem, groups: Groups, alive: Tensor, example: Tensor) -> nn.Module:
    """The network without the dead groups."""
    model = copy.deepcopy(problem.model)
    parameters = dict(model.named_parameters())
    weights = {name: parameters[name] for name in groups.axis}
    for name, mask in groups.masks(alive, weights).items():
        weights[name].mul_(mask.to(weights[name]))
    return compact(model, example)


def measure(name: str, engine: LayerEngine, shares: list[float]) -> list[dict[str, Any]]:
    """One network and engine: predicted and measured at shares of its time."""
    torch.manual_seed(0)
    model, size = NETWORKS[name]()
    problem, example = problem_of(model, size), torch.randn(1, 3, *size)
    groups, budget = problem_groups(problem), Budget(ms="0.5x", engine=engine)
    costing = Costing(problem, example, budget)
    dense = costing.dense()
    began = time.perf_counter()
    costs = CostModel(model, example, groups, budget, dense, Latency(engine))
    seconds = time.perf_counter() - began
    alive = torch.ones(groups.count, dtype=torch.bool)
    layers = costs.by_layer(alive, "ms").sum() / costs.factor["ms"]
    check_reach(model, example, None, groups, alive, costs, costing.measure, [])
    worth = torch.rand(groups.count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def compared(left: Tensor, costs: CostModel) -> dict[str, float]:
        predicted, small = costs(left)["ms"], cut(problem, groups, left, example)
        beside = bench({"dense": model, "cut": small}, example, [engine], repeats=12, processes=6).measures[
            engine
        ]
        found = dense["ms"] / beside["cut"].speedup
        return {"predicted_ms": predicted, "measured_ms": found, "error": predicted / found - 1}

    rows: list[dict[str, Any]] = []
    for share in shares:
        limits = {"ms": share * dense["ms"]}
        try:
            left = choose(groups, alive, worth, costs, limits)
        except OutOfReachError:  # LayerNorm keeps the channels of a transformer's stream
            continue
        row = {"network": name, "engine": engine, "share": share, "size": list(size), "dense_ms": dense["ms"]}
        row |= {"table_seconds": round(seconds, 1), "layers_over_network": float(layers) / dense["ms"]}
        row |= (first := compared(left, costs))
        known = copy.copy(costs)
        known.factor, known.offset = dict(costs.factor), dict(costs.offset)
        known.correct(left, {"ms": first["measured_ms"]})
        again = compared(nearest_choice(groups, alive, worth, known, limits), known)
        rows.append(row | {f"corrected_{key}": value for key, value in again.items()})
    return rows


def text(rows: list[dict[str, Any]]) -> str:
    """A row for each."""
    lines = [
        "| network | engine | dense, measured | sum of its layers | share | predicted | measured | error | after one measurement |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        lines.append(
            f"| {row['network']} | {row['engine']} | {row['dense_ms']:.2f} ms | {row['layers_over_network']:.0%} | {row['share']:g} | "
            f"{row['predicted_ms']:.2f} ms | {row['measured_ms']:.2f} ms | {_all(row, 'error')} | {_all(row, 'corrected_error')} |"
        )
    return "\n".join(lines)


def _all(row: dict[str, Any], key: str) -> str:
    """A figure of each repetition; the last is the row's own."""
    return ", ".join(f"{value:+.0%}" for value in [*(one[key] for one in row["before"]), row[key]])


def main() -> None:
    """Measures what is asked for and keeps what was measured before."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--engines", nargs="*", default=["onnxruntime", "openvino"])
    parser.add_argument("--shares", type=float, nargs="*", default=[0.7, 0.5, 0.25])
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    path = RESULTS / "latency_model.json"
    raw = json.loads(path.read_text()) if path.exists() else {"rows": []}
    raw |= {
        "command": "python benchmarks/speed/latency_model.py",
        "seed": 0,
        "machine": machine(),
        "versions": versions(),
    }
    for name in options.networks:
        for engine in options.engines:
            made: list[dict[str, Any]] = []
            for _ in range(options.repeats):
                before = {row["share"]: row for row in made}
                made = measure(name, engine, options.shares)
                for row in made:
                    last = before.get(row["share"])
                    row["before"] = [*last.pop("before"), last] if last else []
            raw["rows"] = [r for r in raw["rows"] if (r["network"], r["engine"]) != (name, engine)] + made
            path.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
            (RESULTS / "latency_model.md").write_text(text(raw["rows"]) + "\n", encoding="utf-8")
    print(text(raw["rows"]))


if __name__ == "__main__":
    main()
