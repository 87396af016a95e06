"""Sparse files: their size, and the time and memory that loading them takes, against dense ones, in each engine.

    python benchmarks/speed/sparse_files.py

Deeplab-ResNet34 at full width with three heads and 90 % random zeros. Each load is a process of its own, and the fastest of
several counts. Writes docs/results/sparse_files.json and docs/results/sparse_files.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from secateur import export, pack
from secateur.deployment.bench.machine import machine, versions
from sparse_networks import NETWORKS, Plain
from sparse_speed import pruned

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
ENGINES = ("onnxruntime", "openvino", "sparse")
LOAD = """
import sys, time, json
path, engine = sys.argv[1:]
if engine == "openvino":
    import openvino
    start = time.perf_counter()
    held = openvino.Core().compile_model(path, "CPU")
else:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if engine == "sparse":
        import secateur_runtime
        start = time.perf_counter()
        held = secateur_runtime.session(path, session_options=options, strict=True)
    else:
        start = time.perf_counter()
        held = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
taken = time.perf_counter() - start
found = dict(line.split(":")[:2] for line in open("/proc/self/status") if line.startswith("Vm"))
print(json.dumps([taken, *(int(found[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))]))
"""


def loaded(path: Path, engine: str, times: int) -> dict[str, float]:
    """Seconds, and megabytes resident after loading and at their peak."""
    found: list[list[float]] = []
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "-c", LOAD, str(path), engine], capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return dict(
        zip(
            ("seconds", "resident_mb", "peak_mb"),
            (round(min(n), 2) for n in zip(*found, strict=True)),
            strict=True,
        )
    )


def main() -> None:
    """Writes the three files, loads each in each engine."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=3, help="loads of each file in each engine")
    parser.add_argument("--density", type=float, default=0.1)
    options = parser.parse_args()
    torch.manual_seed(0)
    model, example = NETWORKS["deeplab_resnet34"]()
    with tempfile.TemporaryDirectory(prefix="secateur-files") as place:
        folder = Path(place)
        whole = export(Plain(model), example, folder / "whole.onnx", weights="dense")
        kept = pruned(whole, options.density, 1, folder / "dense.onnx")
        files = {"dense": folder / "dense.onnx"}
        for kind in ("sparse", "sparse_float16"):
            files[kind] = pack(files["dense"], folder / f"{kind}.onnx", weights=kind).path
        dense = files["dense"].stat().st_size
        figures = {
            kind: {
                "bytes": (size := path.stat().st_size),
                "share": round(size / dense, 4),
                **{engine: loaded(path, engine, options.times) for engine in ENGINES},
            }
            for kind, path in files.items()
        }
    raw = {
        "command": f"python benchmarks/speed/sparse_files.py --times {options.times} --density {options.density}",
        "seed": 0,
        "machine": machine(),
        "versions": versions(),
        "network": "deeplab_resnet34, three heads, width 1",
        "kept": round(kept, 4),
        "files": figures,
    }
    (RESULTS / "sparse_files.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    lines = [
        "| weights stored | file | " + " | ".join(f"{e}: load, resident, peak" for e in ENGINES) + " |",
        "| --- | ---: | " + " | ".join("---:" for _ in ENGINES) + " |",
    ]
    for kind, found in figures.items():
        cells = (
            f"{f['seconds']:.1f} s, {f['resident_mb']:.0f} MB, {f['peak_mb']:.0f} MB"
            for f in (found[e] for e in ENGINES)
        )
        lines.append(
            f"| {kind} | {found['bytes'] / 1e6:.1f} MB ({found['share']:.1%}) | {' | '.join(cells)} |"
        )
    (RESULTS / "sparse_files.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
