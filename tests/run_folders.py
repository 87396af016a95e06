"""Run folders made up here, and a report as a parser sees it."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from secateur.runs.report import report
from secateur.runs.study import Cell
from secateur.runs.study.over import Settings

VOID = {"meta", "img", "br", "link", "hr", "input"}


HIGHER = {"seg": {"miou": True}, "depth": {"abs_err": False, "delta_1": True}}


DENSE = {"seg": {"miou": 0.5}, "depth": {"abs_err": 0.2, "delta_1": 0.8}}


PRUNED = {"seg": {"miou": 0.51}, "depth": {"abs_err": 0.21, "delta_1": 0.8}}


def make_run(
    folder: Path,
    *,
    dense: bool = False,
    rows: int = 30,
    pictures: int = 2,
    size: tuple[int, int] = (6, 8),
    **changes: Any,
) -> Path:
    """A run folder as `secateur train` leaves it; ``changes`` replace keys of report.json."""
    folder.mkdir(parents=True)
    tasks = changes.get("tasks", DENSE if dense else PRUNED)
    seed = changes.get("seed", 0)
    final = 1.0 if dense else 0.1
    layers = {
        "backbone.conv1.weight": final,
        "backbone.conv2.weight": final if dense else final / 2,
        "heads.seg.weight": 2 * final,
    }
    layers = {name: min(1.0, d) for name, d in layers.items()}
    components = {"backbone": final, **dict.fromkeys(tasks, final)}
    method = "Dense" if dense else "SoftThreshold"
    lines: list[str] = []
    for i in range(rows):
        done = 1 - (i + 1) / rows
        density = {
            "overall": final + (1 - final) * done,
            "components": {c: d + (1 - d) * done for c, d in components.items()},
            "layers": {n: d + (1 - d) * done for n, d in layers.items()},
        }
        row = {
            "step": 10 * (i + 1),
            "loss": {t: math.exp(-i / rows) + 0.1 * j for j, t in enumerate(tasks)},
            "weight": dict.fromkeys(tasks, 1.0),
            "density": density,
            "threshold": {} if dense else dict.fromkeys(components, 0.01 * i),
            "lr": 0.1,
        }
        lines.append(json.dumps(row))
        if i % 10 == 9:
            lines.append(json.dumps({"step": 10 * (i + 1), "val": tasks}))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(
        f"method: {method}\nseed: {seed}\nout: {folder}\ndata:\n  size: [6, 8]\n"
    )
    facts = {
        "name": "dense" if dense else "adapmtl",
        "dense": dense,
        "method": method,
        "weighting": "Equal" if dense else "Adaptive",
        "tasks": tasks,
        "higher_is_better": {t: {m: HIGHER.get(t, {}).get(m, True) for m in ms} for t, ms in tasks.items()},
        "density": {"overall": final, "components": components, "layers": layers},
        "params": {"total": 1_210_000, "prunable": 1_200_000, "nonzero": 1_210_000 if dense else 130_000},
        "macs": {
            "dense": 9.8e9,
            "sparse": 9.8e9 if dense else 1.21e9,
            "components": {c: {"dense": 2e9, "sparse": 2e9 * d} for c, d in components.items()},
            "input": [3, 6, 8],
        },
        "delta_t": None,
        "seed": seed,
        "steps": 10 * rows,
        "command": "secateur train adapmtl --data 'a & b'",
        "hardware": "2 CPU cores",
        "versions": {"torch": "2.11.0"},
        "train_seconds": 125.0,
    }
    (folder / "report.json").write_text(json.dumps(facts | changes))
    if pictures:
        draw = np.random.default_rng(7 + seed)
        arrays = {f"input/{i}": np.full((*size, 3), 40 * i, np.uint8) for i in range(pictures)}
        for task in tasks:
            for kind in ("truth", "prediction"):
                arrays |= {
                    f"{task}/{kind}/{i}": draw.integers(0, 256, (*size, 3)).astype(np.uint8)
                    for i in range(pictures)
                }
        np.savez(folder / "samples.npz", **arrays)
    return folder


def write_cell(
    out: Path, recipe: str, seed: int, miou: float, error: float, density: float | None = None, tasks=("seg", "depth"),
    settings: Settings = (), config: dict[str, Any] | None = None, dead: tuple[str, ...] = (),
) -> Cell:  # fmt: skip
    cell = Cell(recipe, density, tasks, seed, density is None, (), config or {}, False, settings, settings)
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
        "dead": list(dead),
    }
    folder = out / cell.name
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return cell


class Page(HTMLParser):
    """Checks that tags balance while collecting text, attributes and ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", "".join(self.words))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for found, attrs in self.tags if found == tag]


def page_of(folders: list[Path], tmp_path: Path) -> Page:
    return Page(report(folders, tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
