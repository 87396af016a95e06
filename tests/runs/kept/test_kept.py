"""A timing keeps the earlier ones of the same network, and a file elsewhere takes the place of none in the folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secateur.deployment.bench import Bench, Facts, Measure
from secateur.runs.folder import RunFolder
from secateur.runs.kept import benches, keep_bench, keep_export

MEASURE = Measure(9.1, 10.1, 11.1, 1.123, 1.112, 1.134, 1.1, 100, 10**6, 1000, 0.0, True)


def facts(params: int) -> Facts:
    return Facts(params=params, macs=1000, nonzero_macs=1000, dead_channels=0, uneven=0.0)


def made(*engines: str, params: int = 50, **changes: Any) -> Bench:
    found = Bench(
        against="dense",
        settings={"threads": 1, "precision": "f32"},
        machine={"processor": "a processor"},
        inputs=[[1, 3, 24, 32]],
        networks={"dense": facts(100), "run": facts(params)},
        measures={engine: {"dense": MEASURE, "run": MEASURE} for engine in engines},
        versions={},
        times={engine: {"dense": {}, "run": {}} for engine in engines},
        advice=tuple(f"run in {engine} is slow" for engine in engines),
    )
    return replace(found, **changes)


def kept(folder: Path) -> list[tuple[list[str], list[str]]]:
    """Engines and advice of each timing."""
    found = benches(json.loads((folder / "bench.json").read_text()))
    return [(list(one["bench"]["measures"]), list(one["bench"]["advice"])) for one in found]


def keep(folder: Path, one: Bench, of: str | None = "a") -> None:
    keep_bench(RunFolder(folder), "run", one, of)


def test_what_was_not_measured_again_stays(tmp_path: Path) -> None:
    keep(tmp_path, made("torch", "sparse"))
    keep(tmp_path, made("torch"))
    assert kept(tmp_path) == [(["torch"], ["run in torch is slow"]), (["sparse"], ["run in sparse is slow"])]
    keep(tmp_path, made("sparse"))
    assert [engines for engines, _ in kept(tmp_path)] == [["sparse"], ["torch"]]


@pytest.mark.parametrize(
    "other",
    [
        {"inputs": [[1, 3, 48, 64]]},
        {"settings": {"threads": 2, "precision": "f32"}},
        {"settings": {"threads": 1, "precision": "int8"}},
        {"machine": {"processor": "another"}},
    ],
)
def test_the_same_engine_otherwise_is_another_figure(other: dict[str, Any], tmp_path: Path) -> None:
    keep(tmp_path, made("torch", **other))
    keep(tmp_path, made("torch"))
    assert len(kept(tmp_path)) == 2


@pytest.mark.parametrize(("first", "second"), [("a", "b"), (None, "b")])
def test_what_is_of_another_network_goes(first: str | None, second: str, tmp_path: Path) -> None:
    keep(tmp_path, made("torch", params=60), first)
    keep(tmp_path, made("sparse"), second)
    assert [engines for engines, _ in kept(tmp_path)] == [["sparse"]]


def test_so_does_what_was_timed_beside_another_reference_of_the_name(tmp_path: Path) -> None:
    keep(tmp_path, made("torch", networks={"dense": facts(90), "run": facts(50)}))
    keep(tmp_path, made("sparse"))
    assert [engines for engines, _ in kept(tmp_path)] == [["sparse"]]


@pytest.mark.parametrize("text", ["{", "[1]", '{"network": "run"}'])
def test_a_damaged_record_is_written_anew(text: str, tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(text)
    keep(tmp_path, made("torch"))
    assert kept(tmp_path) == [(["torch"], ["run in torch is slow"])]


def test_a_file_elsewhere_takes_the_place_of_none_in_the_folder(tmp_path: Path) -> None:
    run, other = RunFolder(tmp_path / "run"), tmp_path / "other" / "model.onnx"
    run.path.mkdir()
    keep_export(run, run.path / "model.onnx", {"bytes": 1})
    keep_export(run, other, {"bytes": 2})
    assert json.loads(run.exports.read_text()) == {"model.onnx": {"bytes": 1}, str(other): {"bytes": 2}}


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_list_of_files_is_named(text: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.exports.write_text(text)
    with pytest.raises(ValueError, match=r"exports\.json cannot be read .* delete it"):
        keep_export(run, tmp_path / "model.onnx", {"bytes": 1})
