"""What stands around the code: the release builds for every machine, and says of itself what is so."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {line.rsplit(" ", 1)[1] for line in project["classifiers"] if "Python :: 3." in line}
    assert set(read(".github/workflows/tests.yml")["jobs"]["known"]["strategy"]["matrix"]["python"]) == named


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = read("CITATION.cff")
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
