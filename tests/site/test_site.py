"""The site of the docs: every page is on the way, every public name has an entry, every recipe its call, every tutorial runs."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module, util
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

import pytest

import secateur
from secateur import pruning
from secateur.runs.config import build, parse, recipes, resolved

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TUTORIALS = sorted(page for page in (DOCS / "tutorials").glob("*.md") if page.name != "index.md")


def script(name: str) -> ModuleType:
    """One of the files that make the site."""
    spec = util.spec_from_file_location(f"site_{name}", DOCS / "site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rooms() -> Iterator[tuple[str, list[str]]]:
    """Every room with the names that it hands out and the room above does not."""
    for found in walk_packages(secateur.__path__, "secateur."):
        module = import_module(found.name) if found.ispkg else None
        above = import_module(found.name.rpartition(".")[0])
        names = [
            name
            for name in getattr(module, "__all__", [])
            if not inspect.ismodule(getattr(module, name))
            and (above is secateur or getattr(above, name, None) is not getattr(module, name))
        ]
        if names:
            yield found.name, names


def test_every_page_is_in_the_navigation() -> None:
    reached, ahead = set(), [DOCS / "index.md"]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        for options, entries in re.findall(
            r"```\{toctree\}\n((?::[^\n]*\n)*)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
        ):
            for entry in entries.split():
                found = (
                    page.parent.glob(f"{entry}.md") if ":glob:" in options else [page.parent / f"{entry}.md"]
                )
                ahead += [other for other in found if other not in reached]
    tables = set(
        (DOCS / "results").glob("*.md")
    )  # the pages of measured/ show them, as tests of benchmarks say
    assert reached == set(DOCS.rglob("*.md")) - tables


def test_every_room_has_its_page_and_every_public_name_an_entry() -> None:
    pages = {page: page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md")}
    text = "\n".join(pages.values())
    whole = set(re.findall(r"automodule:: (\S+)", text))
    single = set(re.findall(r"auto(?:function|class):: (\S+)", text))
    for room, names in rooms():
        page = DOCS / "api" / f"{room.split('.')[1]}.md"
        assert page in pages
        missing = [name for name in names if room not in whole and f"{room}.{name}" not in single]
        assert not missing, f"{page.name} has no entry for {missing} of {room}"
        for name in names:
            thing = getattr(import_module(room), name)
            if inspect.isroutine(thing) or inspect.isclass(thing):
                assert inspect.getdoc(thing), f"{room}.{name} has no docstring"


def test_the_table_of_recipes_is_complete_and_as_written() -> None:
    page = (DOCS / "api" / "recipes.md").read_text(encoding="utf-8")
    assert page == script("recipes").table(), "run: python docs/site/recipes.py"
    assert re.findall(r"^\| `(\w+)`", page, re.MULTILINE) == recipes()


@pytest.mark.parametrize("recipe", recipes())
def test_a_call_of_the_table_trains_as_its_recipe(recipe: str) -> None:
    given: dict[str, Any] = {}

    def fit(problem: object, method: object, weighting: object, **options: object) -> None:
        given.update(options, method=method, weighting=weighting)

    names = {name: getattr(secateur, name) for name in secateur.__all__}
    schedules = {name: getattr(pruning.schedules, name) for name in ("constant", "staircase")}
    made = {"adam": lambda lr=1e-3, betas=(0.9, 0.999), decay=0.0: (lr, betas, decay)}
    exec(script("recipes").call(recipe), {**names, **schedules, **made, "fit": fit, "problem": None})
    config = resolved(parse([recipe]))
    for kind in ("method", "weighting"):
        expected = build(kind, config)
        assert type(given[kind]) is type(expected)
        assert plain(given[kind]) == plain(expected)
    expected = (config["lr"], tuple(config["betas"]), config["weight_decay"])
    assert given.get("optimizer", (1e-3, (0.9, 0.999), 0.0)) == expected
    assert given["steps"] == config["steps"]
    courses = {"constant": [1.0, 1.0], "staircase": [1.0, 0.5**4], "cosine": None}
    course = given.get("schedule")
    assert (course and [course(0.0), course(1.0)]) == courses[config["decay"]]


def plain(part: object) -> dict[str, object]:
    """The settings of a method or weighting that are plain values."""
    kinds = (int, float, str, bool, tuple, list, dict, type(None))
    return {k: tuple(v) if isinstance(v, list) else v for k, v in vars(part).items() if isinstance(v, kinds)}


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs(page: Path, tmp_path: Path) -> None:
    cells = re.findall(
        r"```\{code-cell\} \w+\n(?::[^\n]*\n)*(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
    )
    assert cells
    program = "def display(*_): pass\n" + "\n".join(cells)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_has_every_name(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="needs the group docs: make docs")
    from sphinx.util.inventory import InventoryFile

    options = ["--fail-on-warning", "--keep-going", "--nitpicky", "--quiet", "-c", DOCS / "site"]
    environment = {**os.environ, "SECATEUR_NOTEBOOKS": "off"}
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "-d", tmp_path / "doctrees", DOCS, tmp_path / "html"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    inventory = InventoryFile.loads((tmp_path / "html" / "objects.inv").read_bytes(), uri="").data
    entries = {name for kind, found in inventory.items() if kind.startswith("py:") for name in found}
    missing = [
        f"{room}.{name}" for room, names in rooms() for name in names if f"{room}.{name}" not in entries
    ]
    assert not missing


def test_no_page_has_the_name_of_one_that_sphinx_makes() -> None:
    """It would be written over without a warning."""
    assert not [name for name in ("search", "genindex", "py-modindex") if (DOCS / f"{name}.md").exists()]
