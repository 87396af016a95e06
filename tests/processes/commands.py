"""Every verb that writes, as small as it can be, for tests/processes/killing.py to stop."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from processes.forked import FORKS
from processes.killing import Command
from secateur.cli import main
from secateur.runs.study import running
from tiny_runs import TINY

SMALL = [
    *TINY, "--steps=2", "--batch=2", "--size=16x16", "--data.train_count=4", "--data.val_count=2", "--data.test_count=2",
    "--data.tasks=[depth, edge]",
]  # fmt: skip
COMPARED = ["compare", "magnitude", "--density", "0.5", "0.25", *SMALL, "--out", "study"]
FORMATS = {"onnx": "onnx", "openvino": "openvino", "executorch": "executorch", "pt2": "torch"}


def commands(base: Path) -> dict[str, Command]:
    """Verb to its command; what it begins with is made once, in ``base``."""
    dense, pruned = ["train", "dense", *SMALL, "--out", "dense"], ["train", "adapmtl", *SMALL, "--out", "run"]

    @cache
    def runs() -> Path:
        return _made(base / "runs", dense, pruned)

    def without_report(root: Path) -> None:
        _copied(runs())(root)
        (root / "run" / "report.html").unlink()

    def compared(root: Path) -> None:
        _copied(study())(root)
        for path in filter(Path.is_file, (root / "study").iterdir()):
            path.unlink()

    @cache
    def study() -> Path:
        return _made(base / "study", COMPARED)

    def command(name: str, prepare: Callable[[Path], object], *argv: str, **more: Any) -> Command:
        return Command(name, prepare, lambda: main(list(argv)), base / "stopped", **more)

    def bench() -> int:
        from secateur.deployment.bench import bench as at

        at.Worker = _Worker
        return main(["bench", "run", "--against", "dense", "--json", "bench.json"])

    found = [
        command("train", lambda root: _copied(runs())(root, "dense"), *pruned),
        command("compact", lambda root: _copied(runs())(root), "compact", "run"),
        *(
            command(f"export {f}", lambda root: _copied(runs())(root), "export", "run", "--format", f)
            for f in FORMATS
        ),
        Command("bench", lambda root: _copied(runs())(root), bench, base / "stopped"),
        command("evaluate", lambda root: _copied(runs())(root), "evaluate", "run"),
        command("overlap", lambda root: _copied(runs())(root), "overlap", "run", "--batches=1"),
        command("report", without_report, "report", "dense", "run"),
        command("compare", compared, *COMPARED),
    ]
    return {made.name: made for made in found}


def _made(root: Path, *lines: list[str]) -> Path:
    """A folder in which these were run, in a process of their own, so that nothing of them is here."""
    root.mkdir(parents=True)

    def run() -> int:
        setattr(running, "subprocess", FORKS)  # noqa: B010
        return max(main(line) for line in lines)

    made = Command("made", lambda folder: None, run, root)
    return made.never_stopped().base / "made" / "straight"


def _copied(source: Path) -> Callable[..., None]:
    def copy(root: Path, *names: str) -> None:
        for path in source.iterdir():
            if (not names or path.name in names) and path.name != "tmp":
                shutil.copytree(path, root / path.name)

    return copy


class _Worker:
    """Stands for the process that times a network: every pass takes as long."""

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None: ...

    def time(self, calls: int) -> dict[str, Any]:
        return {"ms": [1.0] * calls, "disturbed": 0.0, "settled": True, "memory": 1}
