"""A run of the Hub to a folder: held against its manifest before anything is where it is looked for, and no code run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from secateur.runs.folder import RunFolder
from secateur.runs.hub.connection import check_name, connected
from secateur.runs.hub.contents import FORMAT, MANIFEST, NEEDED
from secateur.runs.hub.private import without_paths
from secateur.runs.written import said
from secateur.storage import folder_aside, manifest, write_text

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+.-]*\.(safetensors|json|jsonl|yaml|md|onnx|xml|bin|pte|pt2)")
_LARGEST = 1_000_000  # bytes of a manifest
Listed = dict[str, tuple[int, str]]


def pull(repo: str, out: Path | None = None, *, revision: str | None = None, root: str | None = None) -> Path:
    """Fetches a run that was pushed, checks it whole, and only then puts it where it is to be.

    Args:
        repo: Such as ``my-lab/rooms-depth``.
        out: The run folder; ``runs/`` and the repository's name if None.
        revision: Branch, tag or commit; the newest if None.
        root: Folder of the data here, in the place of that of the machine that trained.

    Returns:
        The run folder. One that holds the same run already is left as it is, whatever else is in it, but for ``root``.

    Raises:
        ImportError: If ``huggingface_hub`` is not installed.
        ValueError: If ``repo`` is no name, there is none, it is no run of ours or damaged, or ``out`` holds something else.
        ConnectionError: If the Hub cannot be reached.
        OSError: If the folder cannot be written.
    """
    check_name(repo)
    out = out or Path("runs") / repo.rpartition("/")[2]
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; choose another --out.")
    with connected(repo) as api:
        info = api.model_info(repo, revision=revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    if MANIFEST not in sizes:
        raise ValueError(f"{repo} is no run that secateur pushed: it has no {MANIFEST}.")
    if sizes[MANIFEST] > _LARGEST:
        raise ValueError(f"{repo}: its {MANIFEST} has {sizes[MANIFEST]} bytes, so it is none of ours.")
    with folder_aside(out) as aside, connected(repo) as api:
        listed = _listed(_fetched(api, info.id, MANIFEST, info.sha, aside), repo)
        if out.is_dir() and any(out.iterdir()):
            _check_same(out, listed, repo, lambda: _fetched(api, info.id, "config.yaml", info.sha, aside))
            if root is not None:
                _rooted(RunFolder(out), root)
            return out
        for name in listed:
            if name not in sizes:
                raise ValueError(f"{repo} lacks {name}, which its manifest names; push it anew.")
            if sizes[name] != listed[name][0]:
                raise ValueError(
                    f"{repo}: {name} has {sizes[name]} bytes, {listed[name][0]} in its manifest; push it anew."
                )
        run = aside / "run"
        run.mkdir()
        for name, (_, seal) in listed.items():
            path = _fetched(api, info.id, name, info.sha, aside)
            if _seal(path.read_bytes()) != seal:
                raise ValueError(
                    f"{repo}: {name} is not what its manifest says; it was damaged or changed, push it anew."
                )
            path.replace(run / name)
        _check(run, repo)
        if root is not None:
            _rooted(RunFolder(run), root)
        if out.is_dir():
            out.rmdir()  # which is empty
        run.rename(out)
    return out


def _fetched(api: HfApi, repo: str, name: str, revision: str | None, folder: Path) -> Path:
    return Path(api.hf_hub_download(repo, name, revision=revision, local_dir=folder))


def _listed(path: Path, repo: str) -> Listed:
    """Name to size and checksum of the files that make the run.

    Raises:
        ValueError: If the manifest is damaged, of a newer release, or names what is no file of a run.
    """
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        number = found["format"]
        listed = {str(name): (int(f["bytes"]), str(f["sha256"])) for name, f in found["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{repo}: its {MANIFEST} cannot be understood ({said(error)}); it is no run of ours."
        ) from error
    if type(number) is not int or number < 1:
        raise ValueError(f"{repo}: its {MANIFEST} is of format {said(number, 20)}; it is no run of ours.")
    if number > FORMAT:
        raise ValueError(
            f"{repo} is of format {number}, this release reads formats up to {FORMAT}; use a newer one."
        )
    if wrong := [name for name in listed if not _NAME.fullmatch(name) or name == MANIFEST]:
        raise ValueError(f"{repo}: its {MANIFEST} names {said(wrong[0], 80)!r}, which is no file of a run.")
    if lacking := [name for name in NEEDED if name not in listed]:
        raise ValueError(f"{repo}: its {MANIFEST} does not name {lacking[0]}; it is no run of ours.")
    return listed


def _check(run: Path, repo: str) -> None:
    """Reads it as every verb does, which runs nothing."""
    from secateur.runs.report import read_run

    folder = RunFolder(run)
    try:
        folder.read_config()
        if (run / "metrics.jsonl").is_file():
            read_run(run)
        manifest(folder.weights)
        if folder.compact.is_file():
            manifest(folder.compact)
    except (ValueError, OSError) as error:
        raise ValueError(f"{repo} holds no whole run: {said(error, 400)}") from error


def _check_same(out: Path, listed: Listed, repo: str, fetch: Callable[[], Path]) -> None:
    """Raises ValueError if a folder holds anything else than the run; ``fetch`` gets its configuration from the Hub."""
    for name, (_, seal) in listed.items():
        path = out / name
        same = path.is_file() and _seal(path.read_bytes()) == seal
        if not same and path.is_file() and name == "config.yaml":
            theirs = fetch()
            same = _seal(theirs.read_bytes()) == seal and _rootless(path) == _rootless(theirs)
        if not same:
            raise ValueError(
                f"{out} is not empty and {name} there is not that of {repo}; choose another --out, or delete the folder."
            )


def _rootless(path: Path) -> Any:
    """A configuration but for where the data are, as ``--root`` may have named this machine's since."""
    config = without_paths(RunFolder(path.parent).read_config())
    data = config.get("data")
    return (
        {**config, "data": {k: v for k, v in data.items() if k != "root"}}
        if isinstance(data, Mapping)
        else config
    )


def _rooted(folder: RunFolder, root: str) -> None:
    config = folder.read_config()
    data = config.get("data")
    if not isinstance(data, Mapping) or "root" not in data:
        raise ValueError(
            f"--root is given, but the data of this run ({said(data, 80)}) have no root; leave it out."
        )
    config["data"] = {**data, "root": root}
    write_text(folder.inside(folder.config), yaml.safe_dump(config, sort_keys=True))


def _seal(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
