"""What docs/budget.md shows runs."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError

from problems import two_heads
from secateur import Budget
from secateur.cli import prune as cli_prune
from secateur.measures.metrics import ImageIoU
from test_docs import ROOT, SegDepth, blocks, seg_depth


def test_the_program_of_budget_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("onnxscript", reason="needs onnx: pip install 'secateur[onnx]'")
    (code,) = blocks(ROOT / "docs" / "budget.md", "python")
    shown = {
        "model": SegDepth(two_heads().model),
        "cross_entropy": F.cross_entropy,
        "l1_loss": F.l1_loss,
        "iou": ImageIoU(),
        "mae": MeanAbsoluteError(),
        "train": seg_depth(),
        "val": seg_depth(),
        "example": torch.randn(1, 3, 16, 16),
    }
    code = code.replace("ms=30", "macs=0.9").replace("steps=2000", "steps=8")
    code = code.replace('"seg": 0.01, "depth": 0.02', '"seg": 0.9, "depth": 0.9')
    assert "macs=0.9" in code
    assert "steps=8" in code
    exec(compile(code, "budget.md", "exec"), shown)
    assert (tmp_path / "phone.onnx").exists()


def test_the_commands_of_budget_parse() -> None:
    lines = [line for block in blocks(ROOT / "docs" / "budget.md", "") for line in block.splitlines()]
    shown = [shlex.split(line, comments=True)[2:] for line in lines if line.startswith("secateur prune")]
    assert len(shown) == 4
    for argv in shown:
        own, _ = cli_prune._apart(argv)
        made = cli_prune.parser().read(own)
        assert [Budget.parse(part, made.engine) for part in made.budget.split(",")]
