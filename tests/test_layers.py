"""Imports go one way: a module imports from its own layer or a lower one (docs/design.md, section 3)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import secateur

ROOT = Path(secateur.__file__).parent
LAYERS = {
    "rng": 0, "files": 0, "schedules": 0, "metrics": 0, "problem": 0, "components": 0, "kinds": 0, "density": 0,
    "sparsifier": 1, "masks": 1, "levels": 1, "threshold": 1, "allocation": 1, "snapshot": 1, "saving": 1, "stream": 1, "ledger": 1,
    "groups": 1, "prox": 1, "passes": 1, "scores": 1, "masked": 1, "regrowth": 1, "optimizer": 1, "aggregation": 1, "aggregators": 1, "distillation": 1, "recalibration": 1, "pattern": 0, "distribution": 0, "selection": 1, "channels": 1, "compaction": 1, "verify": 1,
    "methods": 2, "weighting": 2, "evaluate": 2, "overlap": 2, "cost": 2, "engines": 2, "compact": 2,
    "objective": 3, "resumption": 3, "floors": 3, "fit": 3, "export": 3, "bench": 3,
    "folder": 4, "samples": 4, "report": 4, "config": 4, "references": 4, "run": 4, "deploy": 4, "study": 4,
    "console": 0, "cli": 5, "cli_deploy": 5, "cli_compare": 5, "cli_doctor": 5, "__main__": 5,
}  # fmt: skip
LEAVES = {"data", "zoo"}  # imported by the command line and its run alone
MAY_IMPORT_LEAVES = {"run", "samples", "config", "cli", "cli_doctor"}
FILES = sorted(ROOT.rglob("*.py"))


def part(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        yield from (name for name in names if name.split(".")[0] == "secateur" and "." in name)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_arrow_points_up(path: Path) -> None:
    own = part(path)
    if own == "__init__":
        return
    for name in imports(path):
        other = name.split(".")[1]
        if other in LEAVES:
            assert own in MAY_IMPORT_LEAVES or own in LEAVES, f"{own} imports {name}, a leaf"
        elif own in LEAVES:
            assert LAYERS[other] == 0, f"{own} imports {name}; a leaf uses layer 0 alone"
        else:
            assert LAYERS[other] <= LAYERS[own], (
                f"{own} (layer {LAYERS[own]}) imports {name} (layer {LAYERS[other]})"
            )


@pytest.mark.parametrize(
    "path", [p for p in FILES if part(p) == "methods" and p.stem != "__init__"], ids=lambda p: p.stem
)
def test_methods_import_neither_fit_nor_each_other(path: Path) -> None:
    assert not [name for name in imports(path) if name.startswith(("secateur.methods", "secateur.fit"))]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_fits_in_the_head(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250
