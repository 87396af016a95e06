"""The program and the commands of docs/hub.md run."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from runs.hub.standing import Hub
from secateur.cli import main
from test_docs import ROOT, blocks


def test_the_program_and_the_commands_run(run: Path, hub: Hub) -> None:
    shutil.copytree(run, "runs/phone")
    page = ROOT / "docs" / "hub.md"
    (program,) = blocks(page, "python")
    exec(compile(program, "hub.md", "exec"), {"print": lambda *_: None})
    lines = [shlex.split(line) for block in blocks(page, "") for line in block.splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert main(line[1:]) == 0
