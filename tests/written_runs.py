"""Run folders written by hand, for what reads them."""

from __future__ import annotations

import json
from pathlib import Path

from secateur.runs.study import Cell


def write(
    out: Path, recipe: str, seed: int, miou: float, error: float, density: float | None = None, tasks=("seg", "depth")
) -> Cell:  # fmt: skip
    cell = Cell(recipe, density, tasks, seed, density is None, (), {})
    report = {
        "dense": density is None,
        "tasks": {k: v for k, v in {"seg": {"miou": miou}, "depth": {"abs": error}}.items() if k in tasks},
        "higher_is_better": {"seg": {"miou": True}, "depth": {"abs": False}},
        "density": {"overall": density or 1.0, "components": {"backbone": density or 1.0}},
        "params": {"nonzero": 1000 * (density or 1.0)},
        "macs": {"sparse": 1e6 * (density or 1.0)},
        "steps": 10,
        "rounds": 2 if recipe == "lth" else 1,
        "train_seconds": 20.0 if recipe == "lth" else 10.0,
        "seed": seed,
        "hardware": "paper",
        "versions": {},
    }
    folder = out / cell.name
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return cell
