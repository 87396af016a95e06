"""What the quickstart and the answers by question show runs."""

from __future__ import annotations

import shlex
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import secateur
from problems import two_heads
from secateur.cli.main import VERBS
from secateur.measures.metrics import ImageIoU
from secateur.problem import Task
from secateur.runs.config import parse
from test_docs import SegDepth, blocks, seg_depth

ROOT = Path(__file__).resolve().parents[2]
HOWTO = sorted((ROOT / "docs" / "howto").glob("*.md"))
COMMANDS = [
    page
    for page in (ROOT / "README.md", ROOT / "docs" / "quickstart.md", *HOWTO)
    if "\nsecateur " in page.read_text()
]


@pytest.mark.parametrize("page", COMMANDS, ids=lambda p: p.name)
def test_the_commands_shown_parse(page: Path) -> None:
    lines = [line.split("  #")[0] for block in blocks(page, "") for line in block.splitlines()]
    for verb, *argv in (shlex.split(line)[1:] for line in lines if line.startswith("secateur ")):
        if verb == "train":
            parse(argv)
        elif verb not in ("compare", "study"):  # below, and in tests of their own
            options = import_module(f"secateur.cli.{VERBS[verb]}").parser().format_help()
            assert all(f"{word} " in options for word in argv if word.startswith("--")) or "--data" in argv


@pytest.mark.parametrize("page", HOWTO, ids=lambda p: p.stem)
def test_the_answers_of_howto_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for code in blocks(page, "python"):
        loader = seg_depth(4)
        tasks = {"seg": Task(F.cross_entropy, {"iou": ImageIoU()}), "depth": Task(F.l1_loss)}
        problem = secateur.Problem(SegDepth(two_heads().model), tasks, loader, loader)
        shown = {name: getattr(secateur, name) for name in secateur.__all__}
        shown |= {
            "problem": problem,
            "model": problem.model,
            "tasks": problem.tasks,
            "loader": loader,
            "steps": 12,
        }
        shown |= {"torch": torch, "example": loader[0][0], "print": lambda *_: None}
        shown |= {"batches": lambda count, of=loader: islice(cycle(of), count)}
        exec(compile(code, page.name, "exec"), shown)
