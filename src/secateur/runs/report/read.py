"""A finished run folder as one frozen record."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from secateur.runs.folder import no_run
from secateur.runs.report.overlap import overlap_table
from secateur.runs.report.record import Density, Floors, Macs, Picture, Results, RunRecord, TrainRow
from secateur.runs.written import read, said
from secateur.storage import RowReader

_WRONG = (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, IndexError)
"""What values of other kinds than were written raise, where they are looked at."""


def read_run(folder: Path) -> RunRecord:
    """Reads config.yaml, metrics.jsonl, report.json and, where they exist, samples.npz and overlap.json.

    Raises:
        FileNotFoundError: If the folder or one of its files is missing; says what to do about it.
        ValueError: If a file cannot be understood; names the file, and the line or key.
    """
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(no_run(folder))
    config_text = _text(folder / "config.yaml")
    config = read(folder / "config.yaml")
    train, validation = _read_metrics(folder / "metrics.jsonl")
    path = folder / "report.json"
    try:
        fields = _fields(json.loads(_text(path)))
    except KeyError as error:
        raise ValueError(f"{path} lacks the key {error}; was it written by another version?") from error
    except _WRONG as error:
        raise ValueError(f"{path} cannot be understood: {said(error)}") from error
    return RunRecord(
        folder=folder,
        config=config,
        config_text=config_text,
        train=train,
        validation=validation,
        samples=_read_samples(folder / "samples.npz"),
        overlap=_read_overlap(folder / "overlap.json"),
        **fields,
    )


def read_before(record: RunRecord) -> RunRecord | None:
    """The network that a run of ``secateur prune`` was cut out of, to stand beside it; None where its folder does not say.

    Raises:
        ValueError: If budget.json cannot be understood.
    """
    path = record.folder / "budget.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(_text(path)).get("reference")
        if not found:
            return None
        told = _figures(found)
    except _WRONG as error:
        raise ValueError(f"{path} cannot be understood: {said(repr(error))}") from error
    return replace(
        record, name="before", dense=True, method="", before=None, dead=(), train=(), validation=(), **told
    )


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error}); was it damaged?") from error


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} has no {path.name}: train has not finished; run the same `secateur train` command "
            "again to resume."
        )
    return path.read_bytes()


def _fields(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": str(report["name"]),
        "dense": bool(report["dense"]),
        "method": str(report["method"]),
        "weighting": str(report["weighting"]),
        **_figures(report),
        "higher_is_better": {
            t: {m: bool(h) for m, h in ms.items()} for t, ms in report["higher_is_better"].items()
        },
        "seed": int(report["seed"]),
        "steps": int(report["steps"]),
        "command": str(report["command"]),
        "hardware": str(report["hardware"]),
        "versions": {package: str(version) for package, version in report["versions"].items()},
        "train_seconds": _number(report["train_seconds"]),
        "floors": _floors(report.get("floors") or {}),
        "before": _before(report.get("before")),
        "split": str(report.get("split", "test")),
        "dead": tuple(str(task) for task in report.get("dead") or ()),
        "legends": {task: _legend(found) for task, found in (report.get("legends") or {}).items() if found},
    }


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a network scores and costs."""
    macs = report["macs"]
    return {
        "tasks": _results(report["tasks"]),
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
    }


def _legend(value: Mapping[str, Any]) -> dict[str, Any]:
    """What a picture's colours mean; a colour is ``#rrggbb``, as a page takes it for part of its style."""
    colours = [(str(name), str(colour)) for name, colour in value["colours"]]
    if wrong := [colour for _, colour in colours if not re.fullmatch("#[0-9a-fA-F]{6}", colour)]:
        raise ValueError(f"legends has the colour {wrong[0]!r:.80}, which is not one such as #4363d8")
    return {"colours": colours, "scale": bool(value["scale"]), "note": str(value["note"])}


def _before(value: Mapping[str, Any] | None) -> tuple[float, float] | None:
    return None if value is None else (_number(value["params"]), _number(value["macs"]))


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
    whole = RowReader()
    for number, line in enumerate(lines, start=1):
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # cut short by a kill
                break
            raise ValueError(f"{path}, line {number} is not JSON: {said(error)}") from error
        try:
            step = int(row["step"])
            if "val" in row:
                validation[step] = _results(row["val"])
            else:
                train[step] = _train_row(step, whole(row))
        except _WRONG as error:
            raise ValueError(
                f"{path}, line {number} is no training or validation row: {said(repr(error))}"
            ) from error
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
    try:
        with np.load(path, allow_pickle=False) as archive:
            samples: dict[str, Any] = {key: archive[key] for key in archive.files}
    except Exception as error:  # what a torn archive raises is of every kind
        raise ValueError(f"{path} holds no pictures ({said(error)}); delete it to go without.") from error
    for key, picture in samples.items():
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(
                f"{path}: {key!r:.80} is {picture.dtype} {picture.shape}; expected uint8 (H, W, 3)."
            )
    return samples


def _read_overlap(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found = json.loads(_text(path))
        overlap_table(found)
    except _WRONG as error:
        raise ValueError(
            f"{path} holds no overlap ({said(repr(error))}); run `secateur overlap` again, or delete it."
        ) from error
    return found


def _results(tasks: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {task: _numbers(metrics) for task, metrics in tasks.items()}


def _density(value: Mapping[str, Any]) -> Density:
    overall = _number(value.get("overall"))
    return Density(overall, _numbers(value.get("components")), _numbers(value.get("layers")))


def _numbers(value: Mapping[str, Any] | None) -> dict[str, float]:
    return {key: _number(number) for key, number in (value or {}).items()}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
