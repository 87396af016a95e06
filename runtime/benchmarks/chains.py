"""Chains of layers a tile at a time against the same layers one by one, in one process, in turns.

`python runtime/benchmarks/chains.py [MODEL.onnx ...] [--networks resnet50 ...] [--threads 1] [--seconds 10]`: of each model or network
(of benchmarks/speed/sparse_networks.py, with random zeros), or without any of a grid of single chains, the lower quartile of the
processor time in ms: one by one, chained wherever that can be, and as the cost model chooses. Needs secateur for networks.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

import secateur_runtime
from timing import TYPES, numbers

WAYS = {"one by one": 1, "chained": 2, "chosen": 0}
# inputs, outputs, kernel, dilation of the first layer; outputs of the others; height, width
PAIRS = [
    (512, 1024, 3, 6, (1024, 13), 31, 41),
    (512, 1024, 3, 24, (1024, 13), 31, 41),
    (512, 256, 3, 12, (256, 21), 33, 33),
    (512, 1024, 3, 6, (13,), 31, 41),
    (256, 256, 3, 1, (1024,), 14, 14),
    (128, 128, 3, 1, (512,), 28, 28),
    (64, 64, 3, 1, (256,), 56, 56),
    (512, 512, 3, 1, (2048,), 7, 7),
    (960, 160, 1, 1, (960,), 15, 20),
    (1024, 256, 1, 1, (1024,), 14, 14),
    (320, 1280, 1, 1, (1280,), 40, 40),
    (2048, 64, 1, 1, (2048,), 20, 20),
    (64, 1024, 3, 24, (1024, 1024), 31, 41),
    (64, 256, 3, 12, (1024,), 15, 20),
    (32, 64, 3, 12, (1024,), 15, 20),
]


def chain(case: tuple, density: float, pattern: int) -> bytes:
    """Write a model of a first layer and those behind it, a ReLU between them."""
    from onnx import TensorProto, helper, numpy_helper

    inputs, outputs, k, d, others, height, width = case
    random = np.random.default_rng(0)
    nodes, constants, last = [], [], "x"
    for i, (c, o) in enumerate(zip((inputs, outputs, *others[:-1]), (outputs, *others), strict=True)):
        size = k if i == 0 else 1
        kept = random.random((-(-o // pattern), c, size, size)) < density
        weights = random.standard_normal((o, c, size, size)) * kept.repeat(pattern, 0)[:o]
        constants.append(numpy_helper.from_array(weights.astype(np.float32), f"w{i}"))
        pad = d * (size // 2)
        nodes.append(
            helper.make_node(
                "Conv",
                [last, f"w{i}"],
                [f"c{i}"],
                name=f"c{i}",
                pads=[pad] * 4,
                dilations=[d if i == 0 else 1] * 2,
            )
        )
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        last = f"r{i}"
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "chain", [value("x", TensorProto.FLOAT, [1, inputs, height, width])], [value(last, TensorProto.FLOAT, None)], constants
    )  # fmt: skip
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    ).SerializeToString()


def measure(
    model: str | bytes, threads: int, seconds: float, **options: object
) -> dict[str, tuple[float, int]]:
    """Milliseconds of the processor, and how many layers were chained, of each way."""
    sessions, feeds, times = {}, {}, {}
    for way, value in WAYS.items():
        made = onnxruntime.SessionOptions()
        made.intra_op_num_threads = threads
        made.log_severity_level = 3
        made.add_session_config_entry("session.intra_op.allow_spinning", "0")
        sessions[way] = secateur_runtime.session(
            model, threads=threads, options={"chain": value, **options}, session_options=made, strict=True
        )
        random = np.random.default_rng(1)
        feeds = {i.name: numbers(random, [n if isinstance(n, int) else 1 for n in i.shape], TYPES[i.type]) for i in sessions[way].get_inputs()}  # fmt: skip
        times[way] = []
        sessions[way].run(None, feeds)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["chosen"]) < 7:
        for way in np.random.default_rng().permutation(list(WAYS)):
            start = time.process_time_ns()
            sessions[way].run(None, feeds)
            times[way].append(time.process_time_ns() - start)
    return {
        way: (
            float(np.quantile(all_times, 0.25)) / 1e6,
            sum(
                "of the layer before" in layer.note for layer in secateur_runtime.report(sessions[way]).layers
            ),
        )
        for way, all_times in times.items()
    }


def networks(names: list[str], densities: list[float], patterns: list[int], folder: Path):
    """Names of networks of benchmarks/speed/sparse_networks.py to files with random zeros in all layers but the first."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "speed"))
    import torch

    from secateur import export
    from sparse_networks import NETWORKS, Plain
    from sparse_speed import pruned

    for name in names:
        torch.manual_seed(0)
        network, example = NETWORKS[name]()
        dense = export(Plain(network), example, folder / f"{name}.onnx", dynamic=False, weights="dense")
        for pattern in patterns:
            for density in densities:
                path = folder / f"{name}-{pattern}-{density}.onnx"
                pruned(dense, density, pattern, path)
                yield f"{name}, {pattern}x1 {density}", str(path), {}
                path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--networks", nargs="*", default=[])
    parser.add_argument("--densities", type=float, nargs="*", default=[0.2, 0.1, 0.05])
    parser.add_argument("--patterns", type=int, nargs="*", default=[1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--isa", default="")
    parser.add_argument("--out", type=Path, help="a JSON file that figures are added to")
    arguments = parser.parse_args()
    if arguments.threads == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pairs = (
        (f"{case}, {pattern}x1 {density}", chain(case, density, pattern), {"force": 1})
        for case in PAIRS
        for pattern in arguments.patterns
        for density in arguments.densities
    )
    with tempfile.TemporaryDirectory() as folder:
        cases = pairs
        if arguments.networks:
            cases = networks(arguments.networks, arguments.densities, arguments.patterns, Path(folder))
        elif arguments.models:
            cases = ((path, path, {}) for path in arguments.models)
        for name, model, options in cases:
            found = measure(model, arguments.threads, arguments.seconds, isa=arguments.isa, **options)
            base = found["one by one"][0]
            row = {way: [round(ms, 3), round(ms / base, 3), count] for way, (ms, count) in found.items()}
            print(
                f"{name:56}",
                *(f"{way} {ms} ({share}, {count})" for way, (ms, share, count) in row.items()),
                flush=True,
            )
            if arguments.out:
                keep(arguments.out, f"{name}, {arguments.threads} threads", row)


def keep(path: Path, name: str, row: dict[str, list[float]]) -> None:
    """Add to the figures of a file: ms, the share of one by one, chained layers."""
    raw = json.loads(path.read_text()) if path.exists() else {}
    processor = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line)
    raw |= {"command": "python runtime/benchmarks/chains.py", "what": "[ms of the processor, share of one by one, chained layers]"}  # fmt: skip
    raw |= {"processor": processor.split(":")[1].strip(), "onnxruntime": onnxruntime.__version__}
    raw.setdefault("figures", {})[name] = row
    path.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
