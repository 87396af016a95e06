"""Trained networks as they are deployed: AdapMTL at 90 and 95 %, single weights and blocks of four outputs, beside their dense one.

    python benchmarks/speed/trained_networks.py --root data/nyuv2_160x120 --out runs/pattern_cost

Seed 0 of the runs of ``pattern_cost.py`` (NYU-v2, width 0.125, 60x80, 600 steps), trained here where they are missing, two to three
minutes each. Each network is timed in each engine at 240x320, one and two threads, against the dense one in OpenVINO; metrics are of
the test split. Writes docs/results/trained_networks.json and .md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "quality"))

from nyuv2_small import arguments, train, write  # pyright: ignore[reportMissingImports]
from pattern_cost import arm, arms, read  # pyright: ignore[reportMissingImports]

NAMES = ["dense", *(arm(pattern, density) for pattern in ("unstructured", "4x1") for density in (0.1, 0.05))]
SHOWN = {"seg": "miou", "normal": "mean", "depth": "abs"}
ENGINES = "onnxruntime,openvino,sparse"


def timed(out: Path, threads: int) -> dict[str, Any]:
    """What ``secateur bench`` says of all networks."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "bench.json"
        words = [str(out / f"{name}-0") for name in NAMES[1:]]
        words += ["--against", str(out / "dense-0"), "--engines", ENGINES, "--size", "240x320"]
        words += ["--threads", str(threads), "--repeats", "20", "--json", str(file)]
        subprocess.run([sys.executable, "-m", "secateur", "bench", *words], check=True)
        return json.loads(file.read_text(encoding="utf-8"))


def table(raw: dict[str, Any]) -> str:
    """A row for each network: time in each engine, file, memory, metrics."""
    heads = [
        "network",
        "OpenVINO, 1 thread",
        "ONNX Runtime",
        "ours",
        "ours, 2 threads",
        "file",
        "peak memory, ours",
    ]
    heads += [f"{task} {metric}" for task, metric in SHOWN.items()]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    one, two = raw["bench"]["1"]["measures"], raw["bench"]["2"]["measures"]
    keys = {name: next(key for key in one["openvino"] if Path(key).name == f"{name}-0") for name in NAMES}
    whole, pair = (m["openvino"][keys["dense"]]["p50"] for m in (one, two))
    for name in NAMES:
        key = keys[name]
        ms = [one[engine][key]["p50"] for engine in ("openvino", "onnxruntime", "sparse")]
        cells = [name, *(f"{t:.2f} ms ({whole / t:.1f}x)" for t in ms)]
        fast = two["sparse"][key]["p50"]
        cells.append(f"{fast:.2f} ms ({pair / fast:.1f}x)")
        cells.append(f"{one['sparse'][key]['file'] / 2**20:.2f} MB")
        memory = one["sparse"][key]["memory"]
        cells.append("" if memory is None else f"{memory / 2**20:.0f} MB")
        cells += [f"{raw['runs'][name]['tasks'][task][metric]:.4g}" for task, metric in SHOWN.items()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Trains what is missing, times all, writes the figures."""
    options = arguments(__doc__, "runs/pattern_cost", "NYU-v2").parse_args()
    recipes = arms(600)
    for name in NAMES:
        train(options.root, options.out, name, recipes[name], 0, ())
    raw = {
        "command": "python benchmarks/speed/trained_networks.py --root data/nyuv2_160x120",
        "runs": {name: read(options.out / f"{name}-0") for name in NAMES},
        "bench": {str(threads): timed(options.out, threads) for threads in (1, 2)},
    }
    write("trained_networks", raw, table(raw))


if __name__ == "__main__":
    main()
