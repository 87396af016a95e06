"""Which files of a run are given away, and as what: a manifest with checksums is made of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from secateur.deployment.bench import versions
from secateur.runs.folder import RunFolder
from secateur.runs.hub.card import card
from secateur.runs.hub.connection import check_name
from secateur.runs.hub.private import command_without_paths, named_in, without_paths
from secateur.runs.kept import benches, mark, weights_about
from secateur.runs.report.deployed import compared, standing
from secateur.runs.written import said

MANIFEST = "secateur.json"
FORMAT = 1
NEEDED = ("config.yaml", "report.json", "model.safetensors")
_TEXTS = ("budget.json", "compact.json", "overlap.json", "bench.json")


@dataclass(frozen=True)
class Contents:
    """What is sent.

    Args:
        files: Name to bytes, or to the file that is sent as it is.
        left: Name to why it stays here.
    """

    files: Mapping[str, bytes | Path]
    left: Mapping[str, str]

    def sizes(self) -> dict[str, int]:
        """Name to bytes."""
        return {name: len(f) if isinstance(f, bytes) else f.stat().st_size for name, f in self.files.items()}


def contents(run: Path, *, licence: str | None = None, repo: str = "") -> Contents:
    """The files of a finished run, without checkpoints, pictures of the data, and paths of this machine.

    Args:
        run: The run folder.
        licence: For the card, such as ``mit``.
        repo: For the card.

    Raises:
        FileNotFoundError: If it is no run folder.
        ValueError: If it is not finished, or a file of it is damaged; or ``repo`` is no name.
    """
    if repo:
        check_name(repo)
    folder = RunFolder(run)
    config, report = folder.read_config(), folder.read_report()
    if report is None or not folder.finished:
        raise ValueError(f"{run} is not finished; run the same `secateur train` command again, then push.")
    about = weights_about(folder.weights)
    if place := named_in(json.dumps(about).encode()):
        raise ValueError(
            f"{folder.weights} names {place} in its manifest; train with paths relative to the working folder."
        )
    cleaned = {**without_paths({k: v for k, v in report.items() if k != "command"})}
    cleaned["command"] = command_without_paths(str(report["command"]))
    files: dict[str, bytes | Path] = {
        "config.yaml": yaml.safe_dump(without_paths(config), sort_keys=True).encode(),
        "report.json": _json(cleaned),
        "model.safetensors": folder.weights,
    }
    left: dict[str, str] = {}
    if folder.metrics.is_file():
        files["metrics.jsonl"] = folder.metrics
    if folder.compact.is_file():
        files["compact.safetensors"] = folder.compact
    for name in _TEXTS:
        if (run / name).is_file():
            files[name] = _json(without_paths(_read(run / name)))
    exported = _exports(folder, files, left)
    bench = _timed(run, files)
    files["README.md"] = card(
        cleaned, without_paths(config), exported, bench, licence=licence, repo=repo
    ).encode()
    files[MANIFEST] = _manifest(files)
    return Contents(files, left)


def _timed(run: Path, files: Mapping[str, bytes | Path]) -> Mapping[str, Any] | None:
    """The timing that is of the network sent, one beside what it was before rather than alone."""
    known = {name: json.loads(cast(bytes, files[name])) for name in ("budget.json", "compact.json", "bench.json") if name in files}  # fmt: skip
    if "bench.json" not in known:
        return None
    try:
        known["bench.json"] = benches(known["bench.json"])
        held = standing(known, mark(run)).files
        return next(iter([*compared(held), *held.get("bench.json", ())]), None)
    except (KeyError, TypeError, ValueError, AttributeError):  # damaged, and no more than a table of the card
        return None


def _exports(folder: RunFolder, files: dict[str, bytes | Path], left: dict[str, str]) -> dict[str, Any]:
    """Adds the exported files that are whole and say nothing of this machine, and what is known of them."""
    known: Any = _read(folder.exports) if folder.exports.is_file() else {}
    sent: dict[str, Any] = {}
    for name, facts in known.items() if isinstance(known, dict) else ():
        parts = [folder.path / str(name)]
        parts += [parts[0].with_suffix(".bin")] if parts[0].suffix == ".xml" else []
        there = [
            part for part in parts if part.is_file() and part.parent == folder.path and not part.is_symlink()
        ]
        if parts[0].parent != folder.path:
            left[str(name)] = "it lies elsewhere"
        elif parts[0] not in there:
            left[str(name)] = "it is no longer there"
        elif place := next(filter(None, (named_in(part.read_bytes()) for part in there)), ""):
            left[str(name)] = f"it holds {place}, a path of this machine"
        else:
            files |= {part.name: part for part in there}
            sent[str(name)] = without_paths(facts)
    if sent:
        files["exports.json"] = _json(sent)
    return sent


def _manifest(files: Mapping[str, bytes | Path]) -> bytes:
    listed: dict[str, Any] = {}
    for name, file in sorted(files.items()):
        data = file if isinstance(file, bytes) else file.read_bytes()
        listed[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return _json({"format": FORMAT, "secateur": versions(("secateur",))["secateur"], "files": listed})


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} cannot be read ({said(error)}); make it anew, or delete it, then push."
        ) from error


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
