"""Imports go one way, from a floor to a lower one, and through a room's door (docs/design.md, section 3).

``benchmarks/house.py`` counts with what is here.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import secateur

ROOT = Path(secateur.__file__).parent
FLOORS = {
    "problem": 1,
    "pruning": 2, "weighting": 2, "zoo": 2,
    "shrinking": 3, "measures": 3,
    "storage": 4, "data": 4,
    "training": 5, "deployment": 5,
    "runs": 6, "methods": 6, "integrations": 6,
    "budget": 7,
    "cli": 8,
}  # fmt: skip
LEAVES = {"data", "zoo"}  # imported by what reads a command line or a configuration, and by nothing else
MAY_IMPORT_LEAVES = LEAVES | {"runs", "cli"}
# Doors that stand open although the room does not hand the name out, each with its reason.
OPEN = {
    ("cli", "secateur.budget.run"): "what works on run folders is not for those who have a problem; its verb alone calls it",
    ("cli", "secateur.data.doctor"): "the doctor alone looks at samples one by one; no user calls it but by its verb",
}  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))
HERE = Path(__file__).parent
TESTS = sorted(HERE.rglob("*.py"))
BENCHMARKS = sorted((HERE.parent / "benchmarks").rglob("*.py"))


def room(path: Path) -> str:
    """The room that a file lies in; empty for the front door and ``__main__``."""
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else ""


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of everything of ours that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "secateur":
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names if a.name.split(".")[0] == "secateur")


@cache
def arrows() -> dict[tuple[str, str], set[str]]:
    """(room, room) to the files that make the arrow."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in FILES:
        for module, _ in imports(path) if room(path) else ():
            other = module.split(".")[1] if "." in module else ""
            if other != room(path):
                found[room(path), other].add(str(path.relative_to(ROOT)))
    return found


def test_every_folder_is_a_room_of_the_plan() -> None:
    assert {room(path) for path in FILES} - {""} == set(FLOORS)


def test_no_arrow_points_up_and_none_makes_a_circle() -> None:
    for (own, other), files in arrows().items():
        assert other, f"{files} import the front door; import the room that has it"
        assert FLOORS[other] <= FLOORS[own], f"{own} imports {other}, which is above it: {files}"
        assert (other, own) not in arrows(), f"{own} and {other} import each other"
        if other in LEAVES:
            assert own in MAY_IMPORT_LEAVES, f"{own} imports {other}, a leaf: {files}"
    level = [(own, other) for own, other in arrows() if FLOORS[own] == FLOORS[other]]
    assert not level, f"two rooms of one floor know each other: {level}"


def test_methods_import_neither_the_loop_nor_each_other() -> None:
    for path in (ROOT / "methods").glob("*.py"):
        if path.stem != "__init__":
            assert not [
                m for m, _ in imports(path) if m.startswith(("secateur.methods", "secateur.training"))
            ], path


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_comes_from_another_room_was_handed_out(path: Path) -> None:
    """A room hands out what its ``__init__`` names, a room in a room too; the rest is its own business."""
    for module, name in imports(path):
        other = module.split(".")[1] if "." in module else ""
        if other in ("", room(path)) or (room(path), module) in OPEN:
            continue
        assert (ROOT.parent / module.replace(".", "/")).is_dir(), f"{path} reaches into {module} for {name}"
        assert name in import_module(module).__all__, f"{path} takes {name}, which {module} does not hand out"
        assert not name.startswith("_")


@pytest.mark.parametrize(
    "path",
    FILES + TESTS + BENCHMARKS,
    ids=lambda p: str(p.relative_to(ROOT if ROOT in p.parents else HERE.parent)),
)
def test_a_file_fits_in_the_head(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250


def test_a_folder_has_rooms() -> None:
    for folder in {path.parent for path in FILES + TESTS + BENCHMARKS}:
        files = [path for path in folder.glob("*.py") if path.stem != "__init__"]
        assert len(files) <= 20, f"{folder} has {len(files)} files"
    for folder in {path.parent for path in FILES} - {ROOT}:
        assert (folder / "__init__.py").is_file()


def test_tests_mirror_the_rooms() -> None:
    for path in HERE.rglob("test_*.py"):
        parts = path.relative_to(HERE).parts[:-1]
        rooms = (place.joinpath(*parts) for place in (ROOT, HERE.parent / "docs"))
        assert any(room.is_dir() for room in rooms), f"{path} mirrors no room, and no folder of the docs"


def test_the_table_of_the_design_is_the_house() -> None:
    page = (HERE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \| .* \| ([a-z, ]*) ?\|$", page, re.MULTILINE)
    assert {name for name, _ in rows} == set(FLOORS)
    for name, named in rows:
        assert set(filter(None, named.strip().split(", "))) == {
            other for own, other in arrows() if own == name
        }, name
