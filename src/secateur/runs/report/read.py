"""A finished run folder as one frozen record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

Results = Mapping[str, Mapping[str, float]]  # task -> metric -> value
Picture = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True)
class Density:
    """Kept fraction of the prunable weights: overall, per component, per layer (parameter name)."""

    overall: float
    components: Mapping[str, float]
    layers: Mapping[str, float]


@dataclass(frozen=True)
class Macs:
    """Multiply-adds of one forward pass, (dense, sparse) for each component.

    The pass is on ``images`` inputs (C, H, W), one a task; empty where an input is several tensors.
    """

    dense: float
    sparse: float
    components: Mapping[str, tuple[float, float]]
    input: tuple[int, ...]
    images: int = 1


@dataclass(frozen=True)
class Floors:
    """What each task might lose at most (a share), and the trainings it took: (density, task -> share lost, stopped by).

    Densities that the method could not have were not trained.
    """

    asked: Mapping[str, float]
    attempts: tuple[tuple[float, Mapping[str, float], tuple[str, ...]], ...]
    unreachable: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrainRow:
    """What training logged at one step; the mappings are empty where nothing was logged."""

    step: int
    loss: Mapping[str, float]
    weight: Mapping[str, float]
    density: Density
    threshold: Mapping[str, float]


@dataclass(frozen=True)
class RunRecord:
    """Everything a report says about one run. Unknown numbers are NaN."""

    folder: Path
    name: str
    dense: bool
    method: str
    weighting: str
    tasks: Results
    higher_is_better: Mapping[str, Mapping[str, bool]]
    density: Density
    params: Mapping[str, float]  # total, prunable, nonzero
    macs: Macs
    seed: int
    steps: int
    command: str
    hardware: str
    versions: Mapping[str, str]
    train_seconds: float
    config: Mapping[str, Any]
    config_text: str
    train: tuple[TrainRow, ...]
    validation: tuple[tuple[int, Results], ...]  # (step, results)
    samples: Mapping[str, Picture]  # "input/0", "<task>/truth/0", "<task>/prediction/0"
    floors: Floors
    overlap: Mapping[str, Any] | None  # of overlap.json


def read_run(folder: Path) -> RunRecord:
    """Reads config.yaml, metrics.jsonl, report.json and, where they exist, samples.npz and overlap.json.

    Raises:
        FileNotFoundError: If the folder or one of its files is missing; says what to do about it.
        ValueError: If a file cannot be understood; names the file, and the line or key.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; give the run folders that `secateur train` wrote.")
    config_text = _text(folder / "config.yaml")
    try:
        config: Any = yaml.safe_load(config_text)
    except yaml.YAMLError as error:
        raise ValueError(f"{folder / 'config.yaml'} is not valid YAML: {error}") from error
    train, validation = _read_metrics(folder / "metrics.jsonl")
    path = folder / "report.json"
    try:
        fields = _fields(json.loads(_text(path)))
    except KeyError as error:
        raise ValueError(f"{path} lacks the key {error}; was it written by another version?") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be understood: {error}") from error
    return RunRecord(
        folder=folder,
        config=config if isinstance(config, dict) else {},
        config_text=config_text,
        train=train,
        validation=validation,
        samples=_read_samples(folder / "samples.npz"),
        overlap=json.loads(_text(folder / "overlap.json")) if (folder / "overlap.json").is_file() else None,
        **fields,
    )


def _text(path: Path) -> str:
    return _bytes(path).decode("utf-8")


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} has no {path.name}: train has not finished; run the same `secateur train` command "
            "again to resume."
        )
    return path.read_bytes()


def _fields(report: Mapping[str, Any]) -> dict[str, Any]:
    macs = report["macs"]
    return {
        "name": str(report["name"]),
        "dense": bool(report["dense"]),
        "method": str(report["method"]),
        "weighting": str(report["weighting"]),
        "tasks": _results(report["tasks"]),
        "higher_is_better": {
            t: {m: bool(h) for m, h in ms.items()} for t, ms in report["higher_is_better"].items()
        },
        "density": _density(report["density"]),
        "params": {key: _number(report["params"][key]) for key in ("total", "prunable", "nonzero")},
        "macs": Macs(
            dense=_number(macs["dense"]),
            sparse=_number(macs["sparse"]),
            components={
                c: (_number(v["dense"]), _number(v["sparse"])) for c, v in macs["components"].items()
            },
            input=() if isinstance(macs["input"], dict) else tuple(int(n) for n in macs["input"]),
            images=int(macs.get("images", 1)),
        ),
        "seed": int(report["seed"]),
        "steps": int(report["steps"]),
        "command": str(report["command"]),
        "hardware": str(report["hardware"]),
        "versions": {package: str(version) for package, version in report["versions"].items()},
        "train_seconds": _number(report["train_seconds"]),
        "floors": _floors(report.get("floors") or {}),
    }


def _floors(value: Mapping[str, Any]) -> Floors:
    attempts = [
        (_number(a["density"]), _numbers(a["lost"]), tuple(a["stopped_by"]))
        for a in value.get("attempts") or ()
        if not a.get("unreachable")
    ]
    beyond = tuple(_number(a["density"]) for a in value.get("attempts") or () if a.get("unreachable"))
    return Floors(_numbers(value.get("asked")), tuple(attempts), beyond)


def _read_metrics(path: Path) -> tuple[tuple[TrainRow, ...], tuple[tuple[int, Results], ...]]:
    """Training and validation rows by step; a step logged twice (before and after a resume) counts once."""
    lines = _bytes(path).rstrip(b"\n").split(b"\n")
    train: dict[int, TrainRow] = {}
    validation: dict[int, Results] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row: Any = json.loads(line)
        except ValueError as error:
            if number == len(lines):  # cut short by a kill
                break
            raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
        try:
            step = int(row["step"])
            if "val" in row:
                validation[step] = _results(row["val"])
            else:
                train[step] = _train_row(step, row)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}, line {number} is no training or validation row: {error!r}") from error
    return tuple(train[s] for s in sorted(train)), tuple((s, validation[s]) for s in sorted(validation))


def _train_row(step: int, row: Mapping[str, Any]) -> TrainRow:
    return TrainRow(
        step=step,
        loss=_numbers(row.get("loss")),
        weight=_numbers(row.get("weight")),
        density=_density(row.get("density") or {}),
        threshold=_numbers(row.get("threshold")),
    )


def _read_samples(path: Path) -> dict[str, Picture]:
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as archive:
        samples: dict[str, Any] = {key: archive[key] for key in archive.files}
    for key, picture in samples.items():
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"{path}: {key!r} is {picture.dtype} {picture.shape}; expected uint8 (H, W, 3).")
    return samples


def _results(tasks: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {task: _numbers(metrics) for task, metrics in tasks.items()}


def _density(value: Mapping[str, Any]) -> Density:
    overall = _number(value.get("overall"))
    return Density(overall, _numbers(value.get("components")), _numbers(value.get("layers")))


def _numbers(value: Mapping[str, Any] | None) -> dict[str, float]:
    return {key: _number(number) for key, number in (value or {}).items()}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
