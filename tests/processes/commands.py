"""Every verb that writes, as small as it can be, for tests/processes/killing.py to stop."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from processes.forked import FORKS
from processes.killing import Command
from secateur.cli import main
from secateur.runs.study import running
from tiny_runs import TINY, TRUST

FEW = [
    "--steps=2", "--batch=2", "--size=16x16", "--data.train_count=4", "--data.val_count=2", "--data.test_count=2",
    "--data.tasks=[depth, edge]",
]  # fmt: skip
PRUNED = ["prune", "dense", *TRUST, "--rounds", "1", "--batches", "1", "--repair", "1", "--out", "small"]
FORMATS = {"onnx": "onnx", "openvino": "openvino", "executorch": "executorch", "pt2": "torch"}


def commands(base: Path, network: Sequence[str] = TINY) -> dict[str, Command]:
    """Verb to its command; what it begins with is made once, in ``base``, of the ``network`` that these words say."""
    small = [*network, *FEW]
    several = ["compare", "magnitude", "--density", "0.5", "0.25", *small, "--out", "study"]
    paper = ["study", "weightings", "--rows", "adapmtl", *small, "--out", "named"]
    tried = [
        "search",
        "magnitude",
        "--over",
        "{method.density: [0.2, 0.5], lr: log 1e-4 1e-2}",
        "--trials",
        "2",
        *small,
    ]
    tried += ["--objectives", "depth.abs", "--floors", "{edge: 0.9}", "--out", "search"]
    dense, pruned = ["train", "dense", *small, "--out", "dense"], ["train", "adapmtl", *small, "--out", "run"]

    @cache
    def runs() -> Path:
        return _made(base / "runs", dense, pruned)

    @cache
    def alive() -> Path:
        """A dense run whose tasks all depend on the input, as prune wants them; that of seed 0 has one that is dead."""
        return _made(base / "alive", [*dense, "--seed=2"])

    def without_report(root: Path) -> None:
        _copied(runs())(root)
        (root / "run" / "report.html").unlink()

    def compared(root: Path) -> None:
        _copied(study())(root)
        for path in filter(Path.is_file, (root / "study").iterdir()):
            path.unlink()

    @cache
    def study() -> Path:
        return _made(base / "study", several)

    def shown(root: Path) -> None:
        _copied(named())(root)
        for path in filter(Path.is_file, (root / "named").iterdir()):
            if path.name != "study.claim.json":  # or the folder is nobody's
                path.unlink()

    def searched(root: Path) -> None:
        """The runs of a search whose journal is gone: training is stopped elsewhere."""
        _copied(search())(root)
        for path in filter(Path.is_file, (root / "search").iterdir()):
            if path.name != "search.claim.json":  # or the folder is nobody's
                path.unlink()

    @cache
    def search() -> Path:
        return _made(base / "search", tried)

    @cache
    def named() -> Path:
        return _made(base / "named", paper)

    @cache
    def exported() -> Path:
        """The two runs with what such exports make of the pruned one, and a picture."""
        from PIL import Image

        lines = [
            ["export", "run", "--weights", "dense", *TRUST],
            ["export", "run", "--format", "pt2", *TRUST],
        ]
        folder = _made(base / "files", *lines, begun=_copied(runs()))
        Image.new("RGB", (20, 16), (200, 100, 50)).save(_inside(folder / "pictures") / "one.png")
        return folder

    def files(root: Path) -> None:
        _copied(exported())(root)

    def linked(root: Path) -> None:
        files(root)
        (root / "link.onnx").symlink_to(Path("run", "model.onnx"))

    def command(name: str, prepare: Callable[[Path], object], *argv: str, **more: Any) -> Command:
        return Command(name, prepare, lambda: main(list(argv)), base / "stopped", **more)

    def bench() -> int:
        at: Any = import_module("secateur.deployment.bench.bench")  # the function of that name hides it
        at.Worker = Still
        return main(["bench", "run", "--against", "dense", "--json", "bench.json", *TRUST])

    found = [
        command("train", lambda root: _copied(runs())(root, "dense"), *pruned),
        command("compact", lambda root: _copied(runs())(root), "compact", "run", *TRUST),
        *(
            command(f"export {f}", lambda root: _copied(runs())(root), "export", "run", "--format", f, *TRUST)
            for f in FORMATS
        ),
        Command("bench", lambda root: _copied(runs())(root), bench, base / "stopped"),
        command("evaluate", lambda root: _copied(runs())(root), "evaluate", "run", *TRUST),
        command("overlap", lambda root: _copied(runs())(root), "overlap", "run", "--batches=1", *TRUST),
        command("report", without_report, "report", "dense", "run"),
        command("compare", compared, *several),
        command("study", shown, *paper),
        command("search", searched, *tried, same=lambda name: not name.endswith("journal.log")),
        command(
            "study allocation",
            lambda root: _copied(runs())(root),
            "study",
            "allocation",
            "run",
            "--out",
            "seen",
        ),
        command("report exports", files, "report", "dense", "run", "--out", "page.html"),
        command("evaluate file", files, "evaluate", "run/model.pt2", *TRUST),
        command("pack", files, "pack", "run/model.onnx"),
        command("pack in place", linked, "pack", "link.onnx", "--out", "link.onnx"),
        command("predict", files, "predict", "run", "pictures", "--out", "seen", "--raw", *TRUST),
        command("predict file", files, "predict", "run/model.pt2", "pictures", "--out", "pictures/seen"),
        command(
            "export int8", lambda root: _copied(runs())(root), "export", "run", "--quantize", "int8", *TRUST
        ),
        command(
            "prune",
            lambda root: _copied(alive())(root),
            *PRUNED,
            "--budget",
            "0.7 macs",
            "--steps",
            "2",
        ),
        command(
            "prune family",
            lambda root: _copied(alive())(root),
            *PRUNED,
            "--budget",
            "0.8 macs, 0.6 macs",
            "--steps",
            "0",
        ),
    ]
    return {made.name: made for made in found}


def _made(root: Path, *lines: list[str], begun: Callable[[Path], object] = lambda folder: None) -> Path:
    """A folder in which these were run, in a process of their own, so that nothing of them is here."""
    root.mkdir(parents=True)

    def run() -> int:
        setattr(running, "subprocess", FORKS)  # noqa: B010
        return max(main(line) for line in lines)

    made = Command("made", begun, run, root)
    return made.never_stopped().base / "made" / "straight"


def _inside(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _copied(source: Path) -> Callable[..., None]:
    def copy(root: Path, *names: str) -> None:
        for path in source.iterdir():
            if (not names or path.name in names) and path.name != "tmp":
                shutil.copytree(path, root / path.name)

    return copy


class Still:
    """Stands for the process that times a network: every pass takes as long."""

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> Still:
        return self

    def __exit__(self, *_: object) -> None: ...

    def time(self, calls: int) -> dict[str, Any]:
        return {"ms": [1.0] * calls, "disturbed": 0.0, "settled": True, "memory": 1}
