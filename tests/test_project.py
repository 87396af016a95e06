"""What stands around the code: the lock pins all that ``make setup`` installs, the release builds for every machine."""

from __future__ import annotations

import ast
import sys
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


RELEASE: dict[str, Any] = read(".github/workflows/release.yml")["jobs"]
RUNTIME: dict[str, Any] = tomllib.loads((ROOT / "runtime" / "pyproject.toml").read_text(encoding="utf-8"))


def steps(job: str) -> list[str]:
    return [step["run"] for step in RELEASE[job]["steps"] if "run" in step]


@pytest.fixture
def built() -> dict[str, Any]:
    """What hatch_build.py defines."""
    names: dict[str, Any] = {"__file__": str(ROOT / "runtime" / "hatch_build.py"), "__name__": "hatch_build"}
    exec((ROOT / "runtime" / "hatch_build.py").read_text(encoding="utf-8"), names)
    return names


def test_a_library_for_macos_is_not_called_by_the_path_where_it_was_compiled(
    built: dict[str, Any], tmp_path: Path
) -> None:
    commands: list[list[str]] = []
    built["run"] = commands.append
    built["compile_library"]("aarch64-macos", tmp_path)
    assert "-Wl,-install_name,@rpath/libsecateur.dylib" in commands[-1]


def test_the_release_builds_and_tries_the_runtime_for_every_machine(built: dict[str, Any]) -> None:
    assert set(RELEASE["runtime"]["strategy"]["matrix"]["target"]) == set(built["TARGETS"])
    tried = RELEASE["installed"]["strategy"]["matrix"]
    assert {row["target"] for row in tried["include"]} == set(tried["target"]) == set(built["TARGETS"])
    assert RELEASE["publish"]["needs"] == ["installed"]


def test_the_release_is_tried_on_the_oldest_and_the_newest_of_all_that_we_name() -> None:
    tried = RELEASE["installed"]["strategy"]["matrix"]
    assert tried["python"] == [PYTHONS[0], PYTHONS[-1]]
    assert tried["versions"] == ["oldest", "newest"]
    assert tried["exclude"] == [{"python": PYTHONS[-1], "versions": "oldest"}]
    (oldest,) = (step for step in RELEASE["installed"]["steps"] if "if" in step)
    assert oldest["if"] == "matrix.versions == 'oldest'"
    assert {"lowest-direct", "pyproject.toml", "constraints.txt"} <= set(oldest["run"].split())
    wheels = [line for run in steps("installed") for line in run.splitlines() if ".whl" in line]
    assert len(wheels) == 2
    assert all("--constraint constraints.txt" in line for line in wheels)


def test_what_the_tests_of_the_runtime_import_is_installed_for_them() -> None:
    """The release runs them where there is nothing else."""
    tests = ROOT / "runtime" / "tests"
    needed = (RUNTIME["project"]["name"], *RUNTIME["project"]["dependencies"])
    asked = {Requirement(line).name for line in (*needed, *RUNTIME["dependency-groups"]["test"])}
    own = {path.stem for path in tests.glob("*.py")}
    imported = {
        name.partition(".")[0]
        for path in tests.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    others = imported - own - sys.stdlib_module_names
    assert {name.replace("_", "-") for name in others} <= asked
    assert any("--group runtime/pyproject.toml:test" in run for run in steps("installed"))


def test_both_distributions_bear_one_version_and_the_licence() -> None:
    """The tag of a release is the version of both."""
    assert RUNTIME["project"]["version"] == PROJECT["project"]["version"]
    assert (ROOT / "runtime" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_each_distribution_is_published_from_an_environment_of_its_own() -> None:
    """An index that is to create both projects tells them apart by workflow and environment alone."""
    publish = RELEASE["publish"]
    named = {row["distribution"] for row in publish["strategy"]["matrix"]["include"]}
    assert named == {PROJECT["project"]["name"], RUNTIME["project"]["name"]}
    assert publish["environment"] == "${{ matrix.distribution }}"


def test_every_python_that_we_name_is_tested() -> None:
    assert set(read(".github/workflows/tests.yml")["jobs"]["known"]["strategy"]["matrix"]["python"]) == set(
        PYTHONS
    )


def test_the_citation_is_of_this_version() -> None:
    project = PROJECT["project"]
    cited = read("CITATION.cff")
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
