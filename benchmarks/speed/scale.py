"""What a step costs on many devices: memory of a device, bytes and messages computed from the networks, and time by a model.

    python benchmarks/speed/scale.py [--images 4] [--bandwidth 25e9] [--latency 5e-6] [--throughput 60e12]

The time is a model, not a measurement: a ring for what is long (2 (n - 1)/n S/B seconds for S bytes at B bytes a second), a tree for what
is short (2 log2(n) hops of the latency), gradients sent during the backward pass, which is two thirds of the computing, and all
else in its turn. Computing takes six floating-point operations a multiply-accumulate. Every device has its own images, so that the
whole batch grows with their number. Method state is what the method's checkpoint holds, measured at a twentieth of the width, a prunable weight.
Writes docs/results/scale.json and the tables in docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from secateur.data import rooms
from secateur.measures import count_macs
from secateur.problem import Problem, prunable, seed_all
from secateur.runs import Trust, parse, resolved
from secateur.runs.config import build
from secateur.storage import tensors_of
from secateur.training import Callback, Course, fit
from secateur.zoo import deeplab_resnet34, lim_resnetd50, mobilenetv2_aspp

DOCS = Path(__file__).resolve().parents[2] / "docs"
TASKS = {"seg": 13, "normal": 3, "depth": 1}
NETWORKS = {
    "deeplab_resnet34": deeplab_resnet34,
    "lim_resnetd50": lim_resnetd50,
    "mobilenetv2_aspp": mobilenetv2_aspp,
}
SIZE = (288, 384)
DEVICES = (1, 2, 8, 64, 256, 1024)
RECIPES = ("dense", "adapmtl", "str", "less_is_more", "magnitude", "disparse", "rigl", "lth")
MARKS = ("<!-- {}: written by benchmarks/speed/scale.py -->", "<!-- end of {} -->")


def main() -> None:
    """Computes everything and writes it down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=4, help="of a device")
    parser.add_argument("--bandwidth", type=float, default=25e9, help="bytes a second between devices")
    parser.add_argument("--latency", type=float, default=5e-6, help="seconds a hop")
    parser.add_argument(
        "--throughput", type=float, default=60e12, help="operations a second that a device really does"
    )
    parser.add_argument("--out", type=Path, default=DOCS / "results" / "scale.json")
    asked = parser.parse_args()
    model = {name: getattr(asked, name) for name in ("images", "bandwidth", "latency", "throughput")}
    state = {recipe: state_of(recipe) for recipe in RECIPES}
    made: dict[str, Any] = {"model": {**model, "size": SIZE, "tasks": TASKS}, "state": state, "networks": {}}
    for name, make in NETWORKS.items():
        network = make(TASKS).eval()
        sizes = sizes_of(network)
        made["networks"][name] = {
            **sizes,
            "memory": {recipe: memory(sizes, state[recipe]) for recipe in RECIPES},
            "steps": {str(n): step(sizes, n, **model) for n in DEVICES},
        }
    made["command"] = shlex.join(["python", "benchmarks/speed/scale.py", *sys.argv[1:]])
    made["versions"] = {"torch": torch.__version__}
    asked.out.write_text(json.dumps(made, indent=1) + "\n")
    if asked.out.is_relative_to(DOCS):
        write_page(made)


def sizes_of(network: nn.Module) -> dict[str, int]:
    """Counts of a network: bytes of gradients, channels and layers of BatchNorm, work and predictions of an image."""
    x = torch.zeros(1, 3, *SIZE)
    with torch.no_grad():
        predictions: Mapping[str, Tensor] = network(x)
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "prunable": sum(p.numel() for p in prunable(network).values()),
        "buffer_bytes": sum(b.numel() * b.itemsize for b in network.buffers()),
        "norms": len(norms),
        "channels": sum(m.num_features for m in norms),
        "macs": sum(count_macs(network, x).values()),
        "prediction_bytes": sum(p.numel() * p.itemsize for p in predictions.values()),
    }


def memory(sizes: Mapping[str, int], state: float) -> dict[str, float]:
    """MB of a device, without activations: parameters, gradients, DDP's buckets of them, Adam's two moments, the method's state."""
    weights = 4 * sizes["parameters"] / 1e6
    method = state * sizes["prunable"] / 1e6
    return {
        "parameters": weights,
        "gradients": weights,
        "buckets": weights,
        "optimizer": 2 * weights,
        "method": method,
        "all": 5 * weights + method,
    }


def step(
    sizes: Mapping[str, int], n: int, *, images: int, bandwidth: float, latency: float, throughput: float
) -> dict[str, float]:
    """Bytes that a device sends in a step, and milliseconds."""
    hops = 2 * math.ceil(math.log2(n)) * latency
    computing = 6 * sizes["macs"] * images / throughput
    gradients = _ring(4 * sizes["parameters"], n, bandwidth) + hops
    exposed = max(0.0, gradients - computing * 2 / 3)
    # BatchNorm sends float64 count, sums and sums of squares forwards, and two sums of float32 backwards.
    norm_bytes = 8 * (sizes["norms"] + 2 * sizes["channels"]) + 4 * 2 * sizes["channels"]
    norms = 0.0 if n == 1 else 2 * sizes["norms"] * hops + _ring(norm_bytes, n, bandwidth)
    buffers = (
        0.0 if n == 1 else sizes["buffer_bytes"] / bandwidth + hops
    )  # DDP's own, before each forward pass
    losses = 0.0 if n == 1 else 2 * hops  # four numbers a task, and what method and weighting train
    whole = computing + exposed + norms + buffers + losses
    gathered = sizes["prediction_bytes"] * images
    return {
        "gradient_bytes": 4 * sizes["parameters"],
        "norm_bytes": norm_bytes,
        "loss_bytes": 8 * 4 * len(TASKS),
        "gathered_bytes": gathered * n,
        "computing_ms": computing * 1e3,
        "exposed_ms": exposed * 1e3,
        "norms_ms": norms * 1e3,
        "other_ms": (buffers + losses) * 1e3,
        "step_ms": whole * 1e3,
        "efficiency": computing / whole,
        "gathered_ms": (whole + (n - 1) * gathered / bandwidth) * 1e3,
    }


def _ring(size: float, n: int, bandwidth: float) -> float:
    return 2 * (n - 1) / n * size / bandwidth


class _Looks(Callback):
    """Bytes of the method's state in its last step."""

    decides = False
    found = 0

    def finish(self, course: Course) -> None:
        """Adds up what a checkpoint would hold."""
        state = course.pruning.method.state_dict()
        self.found = sum(value.numel() * value.itemsize for _, value in tensors_of(state))


def state_of(recipe: str) -> float:
    """Bytes that a checkpoint holds of a recipe's method, a prunable weight."""
    config = resolved(parse([recipe]))
    data = rooms(size=(24, 32), batch=4, train_count=16, val_count=4, test_count=4)
    seed_all(0)
    network = deeplab_resnet34(data.channels, 0.05)
    problem = Problem(network, data.tasks, data.train)
    looks, count = _Looks(), sum(p.numel() for p in prunable(network).values())
    method, weighting = build("method", config, Trust()), build("weighting", config, Trust())
    fit(problem, method, weighting, steps=20, callbacks=[looks], progress=False)
    return looks.found / count


def tables(made: Mapping[str, Any]) -> dict[str, str]:
    """The tables of the page, by their marks."""
    kinds = ("parameters", "gradients", "buckets", "optimizer")
    rows = [
        "| network | parameters | gradients | buckets | Adam | method | all |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in made["networks"].items():
        for recipe, of in found["memory"].items():
            shared = " | ".join(f"{of[kind]:.0f}" for kind in kinds)
            rows.append(f"| {name}, {recipe} | {shared} | {of['method']:.0f} | {of['all']:.0f} |")
    heads = "| network | devices | computing | gradients not hidden | BatchNorm | else | step | efficiency | step, predictions gathered |"
    times = [heads, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for name, found in made["networks"].items():
        for n, of in found["steps"].items():
            parts = " | ".join(
                f"{of[kind]:.1f}"
                for kind in ("computing_ms", "exposed_ms", "norms_ms", "other_ms", "step_ms")
            )
            times.append(f"| {name} | {n} | {parts} | {of['efficiency']:.0%} | {of['gathered_ms']:.1f} |")
    sent = [
        "| network | gradients | BatchNorm | losses | predictions, where gathered, 1024 devices |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, found in made["networks"].items():
        of = found["steps"]["1024"]
        kilo = [
            of["gradient_bytes"] / 1e3,
            of["norm_bytes"] / 1e3,
            of["loss_bytes"] / 1e3,
            of["gathered_bytes"] / 1e3,
        ]
        sent.append(f"| {name} | {' | '.join(f'{value:,.1f}'.replace(',', ' ') for value in kilo)} |")
    return {"memory": "\n".join(rows), "times": "\n".join(times), "sent": "\n".join(sent)}


def write_page(made: Mapping[str, Any]) -> None:
    """Puts the tables between their marks."""
    page = DOCS / "scale.md"
    text = page.read_text(encoding="utf-8")
    for name, table in tables(made).items():
        begin, end = (mark.format(name) for mark in MARKS)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
