"""Time of single layers against their density, ours beside ONNX Runtime and OpenVINO: where zeros begin to pay, and what share of the peak is had.

    python benchmarks/speed/density_speed.py [--seconds 0.5] [--shapes 0 1 2 3 4]

One thread, fp32. ONNX Runtime, ours as it decides and ours where it must (``force``) take turns of 20 ms in one process, since only so can one
percent be seen; OpenVINO has the dense layer in a process of its own. The peak is what ``runtime/benchmarks/peak.c`` reaches
(compiled by ``cc``). Writes docs/results/density_speed.json, .md and .svg.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from secateur.deployment.bench.machine import machine, versions

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
sys.path[:0] = [str(ROOT / "runtime" / "tests"), str(ROOT / "runtime" / "benchmarks")]

# inputs, outputs, kernel, stride, dilation, height, width
SHAPES = {
    "3x3, 128, 31x41": (128, 128, 3, 1, 1, 31, 41),
    "3x3, 512 to 1024, dilated 12, 31x41": (512, 1024, 3, 1, 12, 31, 41),
    "1x1, 1024, 31x41": (1024, 1024, 1, 1, 1, 31, 41),
    "3x3, stride 2, 64 to 128, 61x81": (64, 128, 3, 2, 1, 61, 81),
    "1x1, 144 to 24, 60x80": (144, 24, 1, 1, 1, 60, 80),
}
DENSITIES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)
PATTERNS = (1, 4)
TURN = 0.02  # seconds


def write(shape: tuple[int, ...], density: float, pattern: int, path: Path) -> int:
    """The layer with random zeros as an ONNX file; returns its multiply-adds of weights and inputs that are not zero or padding."""
    from models import conv, sparse

    inputs, outputs, kernel, stride, dilation, height, width = shape
    weights = sparse((outputs, inputs, kernel, kernel), density, np.random.default_rng(0), pattern)
    pads = [dilation * (kernel // 2)] * 4
    given = {"strides": [stride, stride], "pads": pads, "dilations": [dilation, dilation]}
    path.write_bytes(conv([1, inputs, height, width], weights, **given))
    return sum(
        int(np.count_nonzero(weights[:, :, i, j]))
        * within(height, kernel, stride, dilation, i)
        * within(width, kernel, stride, dilation, j)
        for i in range(kernel)
        for j in range(kernel)
    )


def within(size: int, kernel: int, stride: int, dilation: int, tap: int) -> int:
    """Outputs along a side for which a tap does not lie on padding."""
    places = np.arange(0, size, stride) + dilation * (tap - kernel // 2)
    return int(((places >= 0) & (places < size)).sum())


def turns(path: str, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of a pass in each turn of the three sessions."""
    import secateur_runtime
    from models import ours, stock
    from timing import WAITED, waited

    data = Path(path).read_bytes()
    free = secateur_runtime.session(data, threads=1, strict=True)
    sessions = {"onnxruntime": stock(data), "ours": free, "forced": ours(data)}
    given = sessions["ours"].get_inputs()[0]
    feeds = {given.name: np.random.default_rng(1).standard_normal(given.shape).astype(np.float32)}

    def turn(run: Callable[..., Any]) -> float:
        before, began, calls = waited(), time.perf_counter(), 0
        while (taken := time.perf_counter() - began) < TURN or not calls:
            run(None, feeds)
            calls += 1
        taken = time.perf_counter() - began
        return 1e3 * taken / calls if waited() - before < WAITED * 1e9 * taken else float("nan")

    for session in sessions.values():
        turn(session.run)
    found: dict[str, list[float]] = {name: [] for name in sessions}
    end = time.perf_counter() + 3 * seconds
    while time.perf_counter() < end or len(found["ours"]) < 7:
        for name, session in sessions.items():
            found[name].append(turn(session.run))
    return found


def measure(shape: tuple[int, ...], seconds: float, folder: Path) -> dict[str, Any]:
    """One layer at each density and pattern."""
    from timing import apart

    path = folder / "layer.onnx"
    dense = write(shape, 1.0, 1, path)
    openvino, clean, _ = apart("openvino", path, seconds=2 * seconds)
    points = []
    for pattern in PATTERNS:
        for density in DENSITIES:
            work = write(shape, density, pattern, path)
            code = [sys.executable, __file__, "--child", str(path), "--seconds", str(seconds)]
            done = subprocess.run(code, capture_output=True, text=True, check=True)
            samples = {k: np.array(v, float) for k, v in json.loads(done.stdout.splitlines()[-1]).items()}
            points.append(
                {
                    "pattern": f"{pattern}x1",
                    "density": density,
                    "kept": work / dense,
                    "ms": {name: round(float(np.nanmedian(ms)), 4) for name, ms in samples.items()},
                    "ours_over_onnxruntime": round(
                        float(np.nanmedian(samples["ours"] / samples["onnxruntime"])), 4
                    ),
                    "turns": int(np.isfinite(samples["ours"] / samples["onnxruntime"]).sum()),
                    "multiply_adds": work,
                }
            )
    return {"openvino_dense_ms": round(openvino, 4), "openvino_samples": clean, "points": points}


def peak(folder: Path) -> float:
    """1e9 operations a second of one core."""
    source, made = ROOT / "runtime" / "benchmarks" / "peak.c", folder / "peak"
    subprocess.run(["cc", "-O2", "-march=native", "-ffp-contract=fast", source, "-o", made], check=True)
    return float(subprocess.run([made], capture_output=True, text=True, check=True).stdout.split()[0])


def crossing(layer: dict[str, Any], pattern: str) -> float | None:
    """The share of weights below which ours, forced, takes less time than both dense engines, between the two points around it."""
    points = [point for point in layer["points"] if point["pattern"] == pattern]
    dense = next(p for p in layer["points"] if p["density"] == 1.0)["ms"]["onnxruntime"]
    least = min(dense, layer["openvino_dense_ms"])
    for above, below in pairwise(points):
        if above["ms"]["forced"] > least >= below["ms"]["forced"]:
            share = (above["ms"]["forced"] - least) / (above["ms"]["forced"] - below["ms"]["forced"])
            return round(above["density"] + share * (below["density"] - above["density"]), 3)
    return None


def text(raw: dict[str, Any]) -> str:
    """A row for each layer and pattern."""
    shown = (0.5, 0.2, 0.1, 0.05, 0.01)
    lines = [
        "| layer | zeros | pays below | "
        + " | ".join(f"{d:.0%}" for d in shown)
        + " | share of peak at 20, 10, 5 % |",
        "| --- | --- | ---: | " + "---: | " * len(shown) + "---: |",
    ]
    for name, layer in raw["layers"].items():
        dense = next(p for p in layer["points"] if p["density"] == 1.0)["ms"]["onnxruntime"]
        least = min(dense, layer["openvino_dense_ms"])
        for pattern in (f"{p}x1" for p in PATTERNS):
            by = {p["density"]: p for p in layer["points"] if p["pattern"] == pattern}
            speed = " | ".join(f"{least / by[d]['ms']['forced']:.1f}" for d in shown)
            rate = [
                2e-6 * by[d]["multiply_adds"] / by[d]["ms"]["forced"] / raw["peak"] for d in (0.2, 0.1, 0.05)
            ]
            share = ", ".join(f"{r:.0%}" for r in rate)
            cross = crossing(layer, pattern)
            pays = "-" if cross is None else f"{cross:.0%}"
            lines.append(f"| {name} | {pattern} | {pays} | {speed} | {share} |")
    return "\n".join(lines)


def plot(raw: dict[str, Any], path: Path) -> None:
    """Time over the faster dense engine's against zeros."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "secateur"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        1, len(raw["layers"]), figsize=(3.2 * len(raw["layers"]), 3.2), sharey=True, squeeze=False
    )
    for axis, (name, layer) in zip(axes[0], raw["layers"].items(), strict=True):
        dense = next(p for p in layer["points"] if p["density"] == 1.0)["ms"]["onnxruntime"]
        least = min(dense, layer["openvino_dense_ms"])
        axis.axhline(1, color="0.6", linewidth=1)
        for pattern, color in zip((f"{p}x1" for p in PATTERNS), ("C0", "C1"), strict=True):
            points = [p for p in layer["points"] if p["pattern"] == pattern]
            zeros = [100 * (1 - p["density"]) for p in points]
            axis.plot(zeros, [p["ms"]["forced"] / least for p in points], color=color, label=pattern)
            if (at := crossing(layer, pattern)) is not None:
                axis.axvline(100 * (1 - at), color=color, linestyle=":", linewidth=1)
        axis.set(title=name.replace(", ", "\n", 1), xlabel="zeros (%)", yscale="log")
        axis.title.set_fontsize(8)
    axes[0, 0].set_ylabel("time / faster dense engine")
    axes[0, 0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measures the shapes asked for and keeps the others as they were."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="for each session and density")
    parser.add_argument("--shapes", type=int, nargs="*", default=list(range(len(SHAPES))))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(turns(options.child, options.seconds)))
        return
    path = RESULTS / "density_speed.json"
    raw = json.loads(path.read_text()) if path.exists() else {"layers": {}}
    with tempfile.TemporaryDirectory(prefix="secateur-density") as place:
        raw |= {"command": f"python benchmarks/speed/density_speed.py --seconds {options.seconds}", "seed": 0}
        raw |= {"machine": machine(), "versions": versions(), "threads": 1, "peak": peak(Path(place))}
        for name in (list(SHAPES)[k] for k in options.shapes):
            raw["layers"][name] = measure(SHAPES[name], options.seconds, Path(place))
            path.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "density_speed.md").write_text(text(raw) + "\n", encoding="utf-8")
    plot(raw, RESULTS / "density_speed.svg")
    worst = max(p["ours_over_onnxruntime"] for layer in raw["layers"].values() for p in layer["points"])
    print(text(raw), f"\nours over ONNX Runtime at most {worst}")


if __name__ == "__main__":
    main()
