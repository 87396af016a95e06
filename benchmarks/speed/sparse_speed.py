"""What zeros are worth in time: whole networks with random zeros, ours against the dense one in ONNX Runtime and OpenVINO.

    python benchmarks/speed/sparse_speed.py [--networks deeplab ...] [--threads 1 2] [--rounds 8]

Every convolution and matrix of a network but its first gets zeros in the exported file, as anybody's pruning would leave them:
single weights, or 2 or 4 successive outputs that share theirs (2x1, 4x1). Each file has a process of its own in its engine, one
works at a time, and a ratio is one round's; rounds in which a process waited for a core more than 4 % of the time do not
count. Adds to docs/results/sparse_speed.json and writes docs/results/sparse_speed.md.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import torch

from secateur import export
from secateur.deployment.bench.machine import machine, versions
from secateur.deployment.bench.process import Worker
from secateur.deployment.engines import seal, unseal
from sparse_networks import NETWORKS, Plain

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
CLEAN, PASSES = 0.04, 3  # share of the time without a core; passes of a process in a round
Sample = dict[str, list[float]]


def pruned(path: Path, density: float, rows: int, out: Path) -> float:
    """The file with random zeros in all its weights but the first; returns the kept share of those."""
    model, rng = onnx_ir.load(path), np.random.default_rng(0)
    onnx_ir.external_data.load_to_model(model)
    kept = total = 0
    nodes = [node for node in model.graph if node.op_type in ("Conv", "Gemm", "MatMul")]
    for node in nodes[1:]:
        held = node.inputs[1]
        if held is None or held.const_value is None or len(held.const_value.shape) < 2:
            continue
        weight = held.const_value.numpy()
        transposed = node.op_type == "MatMul" or (
            node.op_type == "Gemm" and not node.attributes.get_int("transB", 0)
        )
        rowwise = weight.T if transposed else weight  # (outputs, ...)
        if rowwise.shape[1] == 1:  # depthwise: too few weights for zeros to pay
            continue
        mask = rng.random((-(-rowwise.shape[0] // rows), *rowwise.shape[1:])) < density
        mask = mask.repeat(rows, 0)[: rowwise.shape[0]]
        made = np.ascontiguousarray(
            np.where(mask, rowwise, 0).T if transposed else np.where(mask, rowwise, 0)
        )
        held.const_value = onnx_ir.tensor(made.astype(weight.dtype), name=held.name)
        kept, total = kept + int(mask.sum()), total + mask.size
    unseal(model.metadata_props)
    onnx_ir.save(model, out)
    seal(out)
    return kept / total


def timed(workers: dict[str, Callable[[], Worker]], rounds: int) -> tuple[Sample, dict[str, int | None]]:
    """Milliseconds of each round by name (not a number where it was disturbed), and peak memory in bytes."""
    found: Sample = {name: [] for name in workers}
    memory: dict[str, int | None] = {}
    with ExitStack() as running:
        held = {name: running.enter_context(make()) for name, make in workers.items()}
        for worker in held.values():
            worker.time(2)
        for number in range(rounds):
            names = list(held)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                answer = held[name].time(PASSES)
                quiet = (answer["disturbed"] or 0.0) <= CLEAN
                found[name].append(float(np.median(answer["ms"])) if quiet else float("nan"))
                memory[name] = answer["memory"]
    return found, memory


def ratio(reference: list[float], own: list[float]) -> list[float] | None:
    """Median, 10 % and 90 % quantile of the ratio over rounds in which both were undisturbed, and how many those are."""
    paired = np.array(reference) / np.array(own)
    paired = paired[np.isfinite(paired)]
    if not len(paired):
        return None
    return [*(round(float(np.quantile(paired, q)), 3) for q in (0.5, 0.1, 0.9)), len(paired)]


@torch.no_grad()
def measure(
    name: str, threads: int, rounds: int, densities: list[float], patterns: list[int]
) -> dict[str, Any]:
    """One network on so many threads."""
    build = NETWORKS[name]
    torch.manual_seed(0)
    model, example = build()
    with tempfile.TemporaryDirectory(prefix="secateur-sparse") as place:
        folder = Path(place)
        dense = export(Plain(model), example, folder / "dense.onnx", dynamic=False, weights="dense")
        other = export(Plain(model), example, folder / "dense.xml", dynamic=False)
        free = export(Plain(model), example, folder / "free.xml")
        x = folder / "x.npz"
        np.savez(
            x, *(t.numpy() for t in ([example] if isinstance(example, torch.Tensor) else example.values()))
        )

        def worker(path: Path, engine: str) -> Callable[[], Worker]:
            return lambda: Worker(path, x, threads, "f32", path.with_suffix(f".{engine}.log"), engine)

        workers = {
            "openvino dense": worker(other, "openvino"),
            "openvino dense, any size": worker(free, "openvino"),
            "onnxruntime dense": worker(dense, "onnxruntime"),
        }
        workers["sparse dense"] = worker(dense, "sparse")
        kept: dict[str, float] = {}
        for rows in patterns:
            for density in densities:
                path = folder / f"{rows}x1-{density}.onnx"
                kept[f"{rows}x1 {density}"] = pruned(dense, density, rows, path)
                workers[f"{rows}x1 {density}"] = worker(path, "sparse")
        samples, memory = timed(workers, rounds)
    figures = {
        label: {
            "ms": None if np.isnan(ms).all() else round(float(np.nanmedian(ms)), 3),
            "against_openvino": ratio(samples["openvino dense"], ms),
            "against_onnxruntime": ratio(samples["onnxruntime dense"], ms),
            "kept": round(kept.get(label, 1.0), 4),
            "peak_memory_mb": None if memory[label] is None else round((memory[label] or 0) / 2**20),
        }
        for label, ms in samples.items()
    }
    shapes = [list(t.shape) for t in ([example] if isinstance(example, torch.Tensor) else example.values())]
    command = (
        f"python benchmarks/speed/sparse_speed.py --networks '{name}' --threads {threads} --rounds {rounds}"
    )
    command += f" --densities {' '.join(map(str, densities))} --patterns {' '.join(map(str, patterns))}"
    found = {"network": name, "command": command, "threads": threads, "rounds": rounds}
    return found | {"inputs": shapes, "figures": figures}


def text(raw: dict[str, Any]) -> str:
    """The table: a row for each network, thread count and kind of zeros."""
    lines = [
        "| network | threads | zeros | ms | against OpenVINO, dense | against ONNX Runtime, dense | peak memory |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for made in raw["networks"].values():
        for label, found in made["figures"].items():
            cells = [shown(found[f"against_{engine}"]) for engine in ("openvino", "onnxruntime")]
            ms = "-" if found["ms"] is None else f"{found['ms']:.3g}"
            lines.append(
                f"| {made['network']} | {made['threads']} | {label} | {ms} | {' | '.join(cells)} | {found['peak_memory_mb']} MB |"
            )
    return "\n".join(lines)


def shown(found: list[float] | None) -> str:
    """A ratio and its range, as :func:`ratio` gives them."""
    return "-" if found is None else f"{found[0]:.2f} ({found[1]:.2f}-{found[2]:.2f})"


def run(
    path: Path,
    about: str | None,
    measured: Callable[[str, int, int, list[float], list[int]], dict[str, Any]],
    table: Callable[[dict[str, Any]], str],
    defaults: dict[str, Any],
) -> None:
    """Measures what the command line asks for and keeps it beside what was measured before.

    Args:
        path: The JSON file; the table lies beside it.
        about: Of the command.
        measured: A network, threads, rounds, densities and patterns to its figures.
        table: Of all that is kept.
        defaults: Of the options; ``choices`` are the networks.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", choices=defaults["choices"], default=defaults["networks"])
    parser.add_argument("--threads", type=int, nargs="*", default=defaults["threads"])
    parser.add_argument("--rounds", type=int, default=defaults["rounds"])
    parser.add_argument("--densities", type=float, nargs="*", default=[0.2, 0.1, 0.05])
    parser.add_argument("--patterns", type=int, nargs="*", default=[1, 2, 4])
    options = parser.parse_args()
    raw = json.loads(path.read_text()) if path.exists() else {"networks": {}}
    raw |= {"seed": 0, "machine": machine(), "versions": versions()}
    for name in options.networks:
        for threads in options.threads:
            found = measured(name, threads, options.rounds, options.densities, options.patterns)
            command = shlex.join(["python", f"benchmarks/speed/{Path(sys.argv[0]).name}", *sys.argv[1:]])
            raw["networks"][f"{name}, {threads}"] = {"command": command, **found}
            path.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
            path.with_suffix(".md").write_text(table(raw) + "\n", encoding="utf-8")
    print(table(raw))


def main() -> None:
    """Random zeros in float32."""
    defaults = {"choices": list(NETWORKS), "networks": list(NETWORKS), "threads": [1, 2], "rounds": 8}
    run(RESULTS / "sparse_speed.json", __doc__, measure, text, defaults)


if __name__ == "__main__":
    main()
