"""What a run that was deployed leaves, made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BEFORE = [
    {"weight": "backbone.conv1.weight", "component": "backbone", "inputs": 3, "outputs": 64, "macs": 4000},
    {"weight": "backbone.attention.query", "component": "backbone", "inputs": 64, "outputs": 8, "macs": 100},
    {"weight": "backbone.attention.key", "component": "backbone", "inputs": 64, "outputs": 8, "macs": 100},
    {"weight": "heads.seg.weight", "component": "seg", "inputs": 64, "outputs": 13, "macs": 800},
]
AFTER = [
    {"weight": "backbone.conv1.weight", "component": "backbone", "inputs": 3, "outputs": 16, "macs": 1000},
    {"weight": "heads.seg.weight", "component": "seg", "inputs": 16, "outputs": 13, "macs": 200},
]
SIZES = {"before": {"params": 1000, "macs": 5000}, "after": {"params": 250, "macs": 1200}}
BUDGET = {
    "costs": {"ms": 2.0},
    "limits": {"ms": 2.1},
    "dense": {"ms": 8.0},
    "lost": {"seg": 0.01, "depth": -0.02, "normal": 0.5},
    **SIZES,
    "layers": {"before": BEFORE, "after": AFTER},
}
CONFIG = {"prune": {"floors": {"seg": 0.02, "normal": 0.1}}}
COLOURS = {"backbone": "var(--series-7)", "seg": "var(--series-0)"}


def measure(ms: float) -> dict[str, Any]:
    speed = {"speedup": 8 / ms, "speedup_low": 8 / ms, "speedup_high": 8 / ms}
    return {"p10": ms, "p50": ms, "p90": ms, **speed, "file": 1e6 * ms, "memory": None}


def bench(against: str = "dense", network: str = "run", **changes: Any) -> dict[str, Any]:
    facts = {"params": 1000, "macs": 5000}
    own = {"params": 250, "macs": 1200}
    found = {
        "against": against,
        "settings": {"threads": 1},
        "inputs": [[1, 3, 8, 8]],
        "machine": {"processor": "a processor"},
        "networks": {against: facts, network: own},
        "measures": {
            engine: {against: measure(8.0), network: measure(2.0)} for engine in ("onnxruntime", "torch")
        },
        "times": {
            "onnxruntime": {
                against: {"backbone.conv1": 5.0, "heads.seg": 2.0, "": 1.0},
                network: {"backbone.conv1": 1.0, "heads.seg": 0.5, "": 0.5},
            }
        },
        "advice": ["do this"],
    }
    return {"network": network, "bench": found | changes}


def write(folder: Path, **files: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder
