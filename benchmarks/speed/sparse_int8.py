"""What zeros are worth in int8: whole networks with random zeros, quantised, ours against the dense one in OpenVINO and ONNX Runtime.

    python benchmarks/speed/sparse_int8.py [--networks deeplab_resnet34 ...] [--threads 1] [--rounds 6]

As in sparse_speed.py, and every file is quantised by ``onnxruntime.quantization.quantize_static`` on two random inputs (QDQ, a scale
for each output channel, activations uint8). Adds to docs/results/sparse_int8.json and writes docs/results/sparse_int8.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import onnxruntime.quantization as tool
import torch

from secateur import export
from secateur.deployment.bench.process import Worker
from secateur.deployment.engines import seal, unseal
from sparse_networks import NETWORKS, Plain
from sparse_speed import pruned, ratio, run, shown, timed

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
AGAINST = {
    "openvino": "openvino dense int8",
    "onnxruntime": "onnxruntime dense int8",
    "float": "openvino dense",
}


class Inputs(tool.CalibrationDataReader):
    """A few random inputs, one after another."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        random = np.random.default_rng(0)
        self._left = [{"input": random.standard_normal(shape).astype(np.float32)} for _ in range(2)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next, or None."""
        return self._left.pop() if self._left else None


def quantised(path: Path, shape: tuple[int, ...]) -> Path:
    """The file in int8, beside it."""
    out = path.with_suffix(".int8.onnx")
    tool.quantize_static(
        path,
        out,
        Inputs(shape),
        per_channel=True,
        activation_type=tool.QuantType.QUInt8,
        weight_type=tool.QuantType.QInt8,
    )
    model = onnx_ir.load(out)
    onnx_ir.external_data.load_to_model(model)
    unseal(model.metadata_props)
    onnx_ir.save(model, out)
    seal(out)
    return out


@torch.no_grad()
def measure(
    name: str, threads: int, rounds: int, densities: list[float], patterns: list[int]
) -> dict[str, Any]:
    """One network on so many threads."""
    torch.manual_seed(0)
    model, example = NETWORKS[name]()
    shape = tuple(example.shape)
    with tempfile.TemporaryDirectory(prefix="secateur-int8") as place:
        folder = Path(place)
        dense = export(Plain(model), example, folder / "dense.onnx", dynamic=False, weights="dense")
        other = export(Plain(model), example, folder / "dense.xml", dynamic=False)
        x = folder / "x.npz"
        np.savez(x, example.numpy())

        def worker(path: Path, engine: str) -> Callable[[], Worker]:
            return lambda: Worker(path, x, threads, "f32", path.with_suffix(f".{engine}.log"), engine)

        whole = quantised(dense, shape)
        workers = {"openvino dense": worker(other, "openvino")}
        workers["openvino dense int8"] = worker(whole, "openvino")
        workers["onnxruntime dense int8"] = worker(whole, "onnxruntime")
        workers["sparse dense int8"] = worker(whole, "sparse")
        for rows in patterns:
            for density in densities:
                path = folder / f"{rows}x1-{density}.onnx"
                pruned(dense, density, rows, path)
                workers[f"{rows}x1 {density} int8"] = worker(quantised(path, shape), "sparse")
        samples, memory = timed(workers, rounds)
    figures = {
        label: {
            "ms": None if np.isnan(ms).all() else round(float(np.nanmedian(ms)), 3),
            "against": {short: ratio(samples[row], ms) for short, row in AGAINST.items()},
            "peak_memory_mb": None if memory[label] is None else round((memory[label] or 0) / 2**20),
        }
        for label, ms in samples.items()
    }
    command = (
        f"python benchmarks/speed/sparse_int8.py --networks {name} --threads {threads} --rounds {rounds}"
    )
    command += f" --densities {' '.join(map(str, densities))} --patterns {' '.join(map(str, patterns))}"
    return {
        "network": name,
        "command": command,
        "threads": threads,
        "rounds": rounds,
        "input": list(shape),
        "figures": figures,
    }


def text(raw: dict[str, Any]) -> str:
    """The table: a row for each network, thread count and kind of zeros."""
    lines = [
        "| network, in int8 | threads | zeros | ms | against OpenVINO int8, dense | against ONNX Runtime int8, dense | against OpenVINO fp32, dense |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for made in raw["networks"].values():
        for label, found in made["figures"].items():
            cells = [shown(found["against"][engine]) for engine in AGAINST]
            ms = "-" if found["ms"] is None else f"{found['ms']:.3g}"
            lines.append(f"| {made['network']} | {made['threads']} | {label} | {ms} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Random zeros in int8."""
    images = [name for name in NETWORKS if "bert" not in name]
    defaults = {"choices": images, "networks": ["deeplab_resnet34", "resnet50"], "threads": [1], "rounds": 6}
    run(RESULTS / "sparse_int8.json", __doc__, measure, text, defaults)


if __name__ == "__main__":
    main()
