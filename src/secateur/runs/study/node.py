"""What a machine of a cluster does for a run: trains it in its folder, or in one of its own where it does not see that."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from secateur.deployment.bench import versions
from secateur.runs.folder import RunFolder
from secateur.runs.study.brought import Files, digest_of, packed
from secateur.runs.study.running import Trainer

_PACKAGES = ("secateur", "torch", "torchvision", "lightning-fabric", "torchmetrics")


@dataclass(frozen=True)
class Order:
    """A run for a machine of a cluster.

    Args:
        name: Of its folder.
        arguments: Of ``secateur train``.
        out: Folder of the comparison, absolute.
        token: Name and content of a file in it, by which a machine knows that it sees the very folder.
        cwd: Where the command was given.
        workers: Processes that load data.
        threads: Of torch.
        gpus: It has any.
        versions: Of what computes, where the command was given.
        recipe: Name and content of the recipe, where it is a file of the user's.
        beside: Finished runs that it looks at.
        environment: What of the environment was set where the command was given, and counts there too.
    """

    name: str
    arguments: tuple[str, ...]
    out: str
    token: tuple[str, str]
    cwd: str
    workers: int
    threads: int
    gpus: bool
    versions: Mapping[str, str]
    recipe: tuple[str, bytes] | None = None
    beside: Mapping[str, Files] = field(default_factory=dict[str, Files])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Done:
    """What came of an :class:`Order`.

    Args:
        error: Its last words if it failed.
        files: The run folder, where the machine has folders of its own.
        digest: Of the files.
        log: What it said, with the files.
    """

    error: str | None
    files: Files | None = None
    digest: str = ""
    log: bytes = b""


def installed() -> dict[str, str]:
    """Versions of what decides the figures of a run."""
    return {"python": ".".join(platform.python_version_tuple()[:2]), **versions(_PACKAGES)}


def unlike(asked: Mapping[str, str]) -> str | None:
    """What differs here from the versions that are asked, in words; None where nothing does."""
    here = installed()
    told = [
        f"{name} {here.get(name, 'none')} instead of {asked.get(name, 'none')}"
        for name in sorted({*here, *asked})
        if here.get(name) != asked.get(name)
    ]
    return f"{platform.node()} has {', '.join(told)}" if told else None


def carry_out(order: Order) -> Done:
    """Trains the run of an order; the one function that a cluster is given."""
    if told := unlike(order.versions):
        return Done(f"{told}, so its figures could be others; install the same there.")
    shared = _sees(order)
    out = Path(order.out) if shared else _own_folder(order)
    os.chdir(order.cwd if Path(order.cwd).is_dir() else out)
    arguments = order.arguments
    if not shared:
        arguments = _laid_out(order, out)
    environment = {**os.environ, "OMP_NUM_THREADS": str(order.threads), **order.environment}
    if not order.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    error = Trainer(out, jobs=1, workers=order.workers, environment=environment).train(order.name, arguments)
    if shared:
        return Done(error)
    said = out / "logs" / f"{order.name}.txt"
    log = said.read_bytes()
    said.unlink()
    if error is not None:
        return Done(error, log=log)
    files = packed(out / order.name)
    shutil.rmtree(out / order.name, ignore_errors=True)
    return Done(None, files, digest_of(files), log)


def _sees(order: Order) -> bool:
    name, content = order.token
    try:
        return (Path(order.out) / name).read_text(encoding="utf-8") == content
    except (OSError, ValueError):
        return False


def _own_folder(order: Order) -> Path:
    """The same for every attempt at a run of this comparison, for the user alone: one that is left goes on there."""
    mine = Path(tempfile.gettempdir()) / f"secateur-{os.getuid() if hasattr(os, 'getuid') else 'runs'}"
    mine.mkdir(mode=0o700, exist_ok=True)
    if mine.is_symlink() or (hasattr(os, "getuid") and mine.stat().st_uid != os.getuid()):
        mine = Path(tempfile.mkdtemp(prefix="secateur-"))  # somebody else's
    out = mine / sha256(f"{order.out} {order.versions}".encode()).hexdigest()[:16]
    out.mkdir(exist_ok=True)
    return out


def _laid_out(order: Order, out: Path) -> tuple[str, ...]:
    """Puts down what the run looks at, and returns its arguments with the recipe where it is here."""
    for name, files in order.beside.items():
        if RunFolder(out / name).finished:
            continue
        for inside, content in files.items():
            path = out / name / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    if order.recipe is None:
        return order.arguments
    name, content = order.recipe
    path = out / "recipes" / sha256(content).hexdigest()[:16] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return (str(path), *order.arguments[1:])
