"""What stands around the code: the lock pins all that ``make setup`` installs, the release builds for every machine."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = [Requirement(line) for line in (ROOT / "lock.txt").read_text(encoding="utf-8").splitlines()]
PYTHONS = [
    entry.rpartition(" ")[2]
    for entry in PROJECT["project"]["classifiers"]
    if entry.startswith("Programming Language :: Python :: 3.")
]
HERE = {str(key): str(value) for key, value in default_environment().items()}
SYSTEMS = [
    {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"},
    {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64", "os_name": "posix"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64", "os_name": "posix"},
]
MACHINES = [
    system
    | {"python_version": python, "python_full_version": f"{python}.0", "implementation_name": "cpython"}
    for python in PYTHONS
    for system in SYSTEMS
]


UNLOCKED = {
    "ray",
    "trackio",
    "wandb",
    "mlflow",
}  # extras that ask for more than all of ours, or for older releases than we have


def asked() -> Iterator[Requirement]:
    """Everything that pyproject.toml asks for, for whatever purpose."""
    project = PROJECT["project"]
    groups = (*locked_extras(), *PROJECT["dependency-groups"].values())
    for group in (project["dependencies"], PROJECT["build-system"]["requires"], *groups):
        yield from map(Requirement, group)


def locked_extras() -> list[list[str]]:
    """What each extra asks for, of those that are for development too."""
    extras = PROJECT["project"]["optional-dependencies"]
    assert extras.keys() > UNLOCKED
    return [asked for name, asked in extras.items() if name not in {*UNLOCKED, "all"}]


def applies(requirement: Requirement, machine: dict[str, str], extras: frozenset[str] = frozenset()) -> bool:
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate(HERE | machine | {"extra": extra}) for extra in ("", *extras)
    )


def pinned(name: str, machine: dict[str, str]) -> str | None:
    """The one version that ``name`` has on a machine; None if it has none."""
    found = [p for p in PINS if canonicalize_name(p.name) == canonicalize_name(name) and applies(p, machine)]
    assert len(found) <= 1, f"{name} has several versions on {machine}"
    return next(iter(found[0].specifier)).version if found else None


def test_every_line_is_one_exact_version() -> None:
    for pin in PINS:
        assert [s.operator for s in pin.specifier] == ["=="], pin
        assert pin.url is None


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m['python_version']}-{m['platform_machine']}")
def test_what_pyproject_asks_for_is_pinned_within_its_bounds(machine: dict[str, str]) -> None:
    for requirement in asked():
        if applies(requirement, machine):
            version = pinned(requirement.name, machine)
            assert version is not None, f"lock.txt lacks {requirement.name}; run: make lock"
            assert version in requirement.specifier, (
                f"lock.txt has {version} of {requirement}; run: make lock"
            )


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m['python_version']}-{m['platform_machine']}")
def test_what_those_need_is_pinned_too(machine: dict[str, str]) -> None:
    """Read off what is installed here, where that is the version of the lock."""
    installed = {canonicalize_name(found.name): found for found in distributions()}
    todo = [(canonicalize_name(r.name), frozenset(r.extras)) for r in asked() if applies(r, machine)]
    seen = set(todo)
    while todo:
        name, extras = todo.pop()
        found = installed.get(name)
        if found is None or found.version != pinned(name, machine):
            continue
        for requirement in map(Requirement, found.requires or ()):
            if not applies(requirement, machine, extras):
                continue
            version = pinned(requirement.name, machine)
            assert version is not None, (
                f"lock.txt lacks {requirement.name}, which {name} needs; run: make lock"
            )
            assert requirement.specifier.contains(version, prereleases=True), f"{name} needs {requirement}"
            if (entry := (canonicalize_name(requirement.name), frozenset(requirement.extras))) not in seen:
                seen.add(entry)
                todo.append(entry)


def test_dev_has_every_extra_and_install_what_builds() -> None:
    dev, install = (
        set(map(str, map(Requirement, PROJECT["dependency-groups"][g]))) for g in ("dev", "install")
    )
    for extra in locked_extras():
        assert set(map(str, map(Requirement, extra))) <= dev
    assert set(PROJECT["build-system"]["requires"]) <= install


def test_all_unites_the_extras() -> None:
    (united,) = map(Requirement, PROJECT["project"]["optional-dependencies"]["all"])
    extras = PROJECT["project"]["optional-dependencies"].keys()
    assert (united.name, united.extras) == ("secateur", extras - UNLOCKED - {"all"})


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_release_builds_and_tries_the_runtime_for_every_machine() -> None:
    built: dict[str, Any] = {"__file__": str(ROOT / "runtime" / "hatch_build.py"), "__name__": "hatch_build"}
    exec((ROOT / "runtime" / "hatch_build.py").read_text(encoding="utf-8"), built)
    jobs = read(".github/workflows/release.yml")["jobs"]
    assert set(jobs["runtime"]["strategy"]["matrix"]["target"]) == set(built["TARGETS"])
    tried = jobs["installed"]["strategy"]["matrix"]
    assert {row["target"] for row in tried["include"]} == set(tried["target"]) == set(built["TARGETS"])
    assert jobs["publish"]["needs"] == ["installed"]


def test_every_python_that_we_name_is_tested() -> None:
    assert set(read(".github/workflows/tests.yml")["jobs"]["known"]["strategy"]["matrix"]["python"]) == set(
        PYTHONS
    )


def test_the_citation_is_of_this_version() -> None:
    project = PROJECT["project"]
    cited = read("CITATION.cff")
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
