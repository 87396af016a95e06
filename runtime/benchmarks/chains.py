"""Chains of layers a tile at a time against the same layers one by one, in one process, in turns.

`python runtime/benchmarks/chains.py [MODEL.onnx ...] [--threads 1] [--seconds 10]`: of each model, or without any of a grid of pairs
of layers, the lower quartile of the processor time in ms: one by one, wherever they can be chained, and as the cost model chooses.
"""

import argparse
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--densities", type=float, nargs="*", default=[0.3, 0.1, 0.05])
    parser.add_argument("--patterns", type=int, nargs="*", default=[1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--isa", default="")
    arguments = parser.parse_args()
    cases = [(str(path), str(path), {}) for path in arguments.models] or [
        (f"{case} {pattern}x1 {density}", chain(case, density, pattern), {"force": 1})
        for case in PAIRS
        for pattern in arguments.patterns
        for density in arguments.densities
    ]
    for name, model, options in cases:
        found = measure(model, arguments.threads, arguments.seconds, isa=arguments.isa, **options)
        base = found["one by one"][0]
        print(
            f"{name:56}",
            *(f"{way} {ms:.3f} ({100 * (ms / base - 1):+.1f} %, {n})" for way, (ms, n) in found.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
